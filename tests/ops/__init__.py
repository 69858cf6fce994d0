"""Operators against independent expectations, through the reference interpreter."""

"""Rewrites from graph to graph, in one ordered pipeline."""

"""Exported programs as functional programs of core ATen operators: `run_decompositions()`."""

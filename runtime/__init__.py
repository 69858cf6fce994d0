"""Loads and calls artefacts: NumPy, cffi and the standard library, nothing of the compiler."""

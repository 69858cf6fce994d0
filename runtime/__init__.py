"""Loads and calls artefacts."""

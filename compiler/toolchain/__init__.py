"""Finds and runs compilers, caches objects, links and seals the artefact."""

"""NumPy callable or castoff Module -> ExportedProgram, by running it on tracer arrays."""

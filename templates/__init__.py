"""Text only: the C sources and templates that generated code is made of."""

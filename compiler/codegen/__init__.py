"""From kernels to source text."""

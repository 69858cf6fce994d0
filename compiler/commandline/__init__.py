"""The commands of `castoff`, one module each."""

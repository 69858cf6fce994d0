"""Makes deployment archives: see `castoff.runtime.package` for what they are."""

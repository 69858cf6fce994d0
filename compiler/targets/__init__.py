"""What differs between processors: types, intrinsics, flags, tiles."""

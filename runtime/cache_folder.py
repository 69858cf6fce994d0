"""Where castoff keeps what it can make again."""

from __future__ import annotations

import os

OFF = ("0", "off", "no")
"""What $CASTOFF_CACHE says, in any case, to switch the cache off."""


def default_cache_folder() -> str:
    """The folder where nothing else is said: `castoff` in $XDG_CACHE_HOME, else in ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "castoff")


def cache_folder() -> str | None:
    """$CASTOFF_CACHE, else the default one; None where that variable says 0, off or no."""
    chosen = os.environ.get("CASTOFF_CACHE", "")
    if chosen.lower() in OFF:
        return None
    return os.path.expanduser(chosen) if chosen else default_cache_folder()

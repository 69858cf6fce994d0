"""The names `import castoff` offers."""

from __future__ import annotations

import pytest

import castoff


@pytest.mark.parametrize("name", castoff.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(castoff, name) is not None
    assert name in dir(castoff)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="'castoff' has no attribute 'aot_fly'"):
        castoff.aot_fly  # noqa: B018

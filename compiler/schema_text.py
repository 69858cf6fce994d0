"""How the text of an operator's schema is cut, for all who read such texts."""

from __future__ import annotations

from collections.abc import Iterator


def split_at_commas(text: str) -> Iterator[str]:
    """The pieces between the commas that stand in no bracket and no string, blanks around them left out."""
    depth, quote, piece = 0, "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        elif letter == "," and depth == 0:
            yield piece.strip()
            piece = ""
            continue
        piece += letter
    if piece.strip():
        yield piece.strip()

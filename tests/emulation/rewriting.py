"""Turns preprocessed CUDA C++ into C++ that g++ compiles.

Only what no macro can say is rewritten: `__shared__` declarations and `__noinline__`.

    extern __shared__ float x[];  ->  auto* const x = ::emulation::dynamic_shared<float>();
    __shared__ float a[4], b;     ->  static ::emulation::Shared<float[4]> a_shared; auto& a = a_shared.reach();
                                      static ::emulation::Shared<float> b_shared; auto& b = b_shared.reach();
    __shared__ union { int a; } x;  ->  union x_type { int a; }; static ::emulation::Shared<x_type> x_shared; ...
"""

from __future__ import annotations

import re

_SHARED = re.compile(
    r"(?P<extern>\bextern\s+)?(?:\bstatic\s+)?\b__shared__\b"
    r"(?P<declaration>(?:[^;{}]|\{[^{}]*\})*);"
)
_UNNAMED = re.compile(r"^(?P<kind>union|struct)\s*(?P<members>\{.*\})$", re.DOTALL)
_ALIGNMENT = re.compile(
    r"(?:\balignas\s*\([^()]*\)|__attribute__\s*\(\(\s*aligned\s*\([^()]*\)\s*\)\))\s*"
)
_NOINLINE = re.compile(r"(?<![(\w])__noinline__\b")
_BEFORE_SHARED = re.compile(_ALIGNMENT.pattern + r"(?=(?:extern\s+|static\s+)*__shared__\b)")
_DECLARATOR = re.compile(
    r"^(?P<type>.*?)(?P<name>[A-Za-z_]\w*)\s*(?P<extents>(?:\[[^\[\]]*\]\s*)*)$", re.DOTALL
)


class RewriteError(Exception):
    """A declaration that the emulation does not understand."""


def rewrite(source: str) -> str:
    """The source in C++. Line numbers stay. Raises RewriteError."""
    source = _NOINLINE.sub("__attribute__((__noinline__))", source)
    source = _BEFORE_SHARED.sub("", source)
    return _SHARED.sub(_rewrite_shared, source)


def _rewrite_shared(match: re.Match[str]) -> str:
    text = _ALIGNMENT.sub("", match["declaration"])
    first, *others = _split(text)
    declarator = _DECLARATOR.match(first.strip())
    if declarator is None or not declarator["type"].strip():
        raise RewriteError(f"expected a variable after __shared__, got {text.strip()!r}")
    base = declarator["type"].strip()
    lines = []
    if unnamed := _UNNAMED.match(base):
        base = f"{declarator['name']}_type"
        lines.append(f"{unnamed['kind']} {base} {unnamed['members']};")
    lines.append(
        _variable(base, declarator["name"], declarator["extents"], match["extern"] is not None)
    )
    for other in others:
        declarator = _DECLARATOR.match(other.strip())
        if declarator is None:
            raise RewriteError(f"expected a variable after __shared__, got {other.strip()!r}")
        kind = base.rstrip("*& ") + declarator["type"]
        lines.append(_variable(kind, declarator["name"], declarator["extents"], False))
    text = " ".join(lines)
    return text + "\n" * (match[0].count("\n") - text.count("\n"))


def _variable(kind: str, name: str, extents: str, is_dynamic: bool) -> str:
    if is_dynamic:
        return f"auto* const {name} = ::emulation::dynamic_shared<{kind}>();"
    shape = "".join(extents.split())
    return f"static ::emulation::Shared<{kind}{shape}> {name}_shared; auto& {name} = {name}_shared.reach();"


def _split(text: str) -> list[str]:
    """The declarators, parted by the commas that lie in no bracket."""
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        if letter in "([{<":
            depth += 1
        elif letter in ")]}>":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]

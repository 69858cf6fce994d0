"""The C header that goes with an artefact: castoff.h, and what this program takes and gives."""

from __future__ import annotations

from collections.abc import Sequence

from ...runtime.manifest import Manifest, TensorSpec

ABI_HEADER = "abi/castoff.h"


def artefact_header(declarations: str, manifest: Manifest) -> str:
    """The header's text.

    The declarations are those of castoff.h, behind its own guard, so that headers of several
    artefacts can be included together.
    """
    lines = [f"/* The artefact {_safe(manifest.name)!r} ({manifest.machine}, {manifest.device})."]
    lines += _tensors("inputs", manifest.inputs)
    lines += _tensors("outputs", manifest.outputs)
    if manifest.symbols:
        lines += [" *", " * sizes that callers choose:"]
    for symbol in manifest.symbols:
        low = symbol.min if symbol.min is not None else "any"
        high = symbol.max if symbol.max is not None else "any"
        lines.append(f" *     {_safe(symbol.name)}: {low} to {high}")
    lines.append(" */")
    return "\n".join(lines) + "\n" + declarations


def _tensors(label: str, specs: Sequence[TensorSpec]) -> list[str]:
    lines = [" *", f" * {label}, in the order of castoff_call.{label}:"]
    for position, spec in enumerate(specs):
        notes = (
            [""]
            + ["written to"] * spec.mutated
            + ["size known after the run"] * spec.data_dependent
        )
        shape = ", ".join(map(str, spec.shape))
        what = f"{spec.dtype}[{shape}]{', '.join(notes)}"
        lines.append(f" *     {position}: {_safe(f'{spec.name} ({spec.path})')} {_safe(what)}")
    return lines


def _safe(text: str) -> str:
    """Text that cannot end the comment it stands in, nor its line."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/")

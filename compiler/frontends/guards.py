"""Conditions that a call has to meet, from the texts the exporter recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ...runtime.treespec import TreeNode
from ..errors import CompileError
from ..exported.symbols import ExprTree
from ..ir.graph import Guard
from .real_trees import UnknownExpressionError
from .symbols import NoSizeError, SymbolTable

Path = tuple["str | int", ...]


def guard_of(table: SymbolTable, condition: ExprTree, text: str) -> Guard | None:
    """The guard of a condition; None where it always holds or is about inputs that are no sizes.

    Raises `CompileError` for a condition on sizes that cannot be checked.
    """
    try:
        expression = table.integer(condition)
    except NoSizeError:
        return None
    except UnknownExpressionError as error:
        raise CompileError(
            f"the program was exported for inputs with {text}, which cannot be checked: {error}"
        ) from error
    return None if isinstance(expression, int) and expression else Guard(expression, text)


_OF_LAYOUT = re.compile(r"\.stride\(|\.storage_offset\(|^hasattr\(")


def refuse_unknown_guards(texts: Sequence[str]) -> None:
    """Raise `CompileError` for conditions that mean nothing here, unless they are about how an input lies in memory,
    which no result depends on."""
    for text in texts:
        if not _OF_LAYOUT.search(text):
            raise CompileError(
                f"the program was exported for inputs with {guard_text(text)}, which cannot be checked"
            )


def guard_text(text: str) -> str:
    """A guard in the user's words: `L['x'].size()[0] == 3` -> `x.shape[0] == 3`."""
    return re.sub(r"L\['(\w+)'\]", r"\1", text).replace(".size()[", ".shape[")


def leaf_paths(tree: TreeNode, forward_arg_names: Sequence[str]) -> Mapping[Path, int]:
    """For every way a guard may name a leaf of the call, which leaf that is."""
    args, kwargs = tree.children
    result: dict[Path, int] = {}
    for position, child in enumerate(args.children):
        known = position < len(forward_arg_names)
        name = forward_arg_names[position] if known else f"args_{position}"
        for path in _walk(child, (name,)):
            result[path] = len(result)
    for path in _walk(kwargs, ()):
        result[path] = len(result)
    return {**_variadic_paths(result), **result}


def _variadic_paths(paths: Mapping[Path, int]) -> Mapping[Path, int]:
    """`*xs` gives arguments called `xs_0`, `xs_1`; guards call them `xs[0]`, `xs[1]`."""
    found: dict[Path, int] = {}
    for (name, *rest), leaf in paths.items():
        base, _, position = str(name).rpartition("_")
        if base and position.isdecimal():
            path: Path = (base, int(position), *rest)
            found[path] = leaf
    return found


def _walk(node: TreeNode, path: Path) -> Iterator[Path]:
    if node.kind == "leaf":
        yield path
        return
    for key, child in zip(node.keys, node.children, strict=False):
        yield from _walk(child, (*path, key if isinstance(key, int) else str(key)))

"""Which modules a source imports."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import field

from ..records import dataclass


@dataclass(frozen=True, slots=True)
class Imports:
    """What a source imports, each with the first line that says so.

    `names` are those taken out of modules, as "module.name": some of them may be modules too.
    """

    modules: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)


def find_imports(source: str, name: str, is_package: bool) -> Imports:
    """What the source of module `name` needs.

    What is imported for type checkers only, or in a `try`, is not needed. Raises SyntaxError.
    """
    package = name if is_package else name.rpartition(".")[0]
    found = Imports()
    for node in _imports(ast.parse(source).body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.modules.setdefault(alias.name, node.lineno)
            continue
        module = node.module or ""
        if node.level:
            module = _resolved("." * node.level + module, package)
        found.modules.setdefault(module, node.lineno)
        for alias in node.names:
            found.names.setdefault(f"{module}.{alias.name}", node.lineno)
    return found


def _imports(statements: Iterable[ast.AST]) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in statements:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.Try):
            yield from _imports((*node.handlers, *node.orelse, *node.finalbody))
        elif isinstance(node, ast.If) and _is_for_type_checkers(node.test):
            yield from _imports(node.orelse)
        else:
            yield from _imports(ast.iter_child_nodes(node))


def _is_for_type_checkers(test: ast.expr) -> bool:
    is_named = isinstance(test, (ast.Name, ast.Attribute))  # `not` and `or` mean something else
    return is_named and ast.unparse(test).endswith("TYPE_CHECKING")


def _resolved(module: str, package: str) -> str:
    try:
        return importlib.util.resolve_name(module, package)
    except ImportError:
        return module  # nothing of that name can be found, which is what will be said

"""Writes `compiler/exported/operators.txt` from what the installed PyTorch says of its operators:
`python -m tests.exported.operator_table`. The table's own text explains its notation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parents[2] / "compiler" / "exported" / "operators.txt"
_KINDS = {
    "Tensor": "t",
    "int": "i",
    "SymInt": "i",
    "float": "f",
    "bool": "b",
    "number": "n",
    "Scalar": "n",
    "str": "s",
    "ScalarType": "d",
    "Layout": "l",
    "Device": "v",
    "MemoryFormat": "m",
    "Generator": "g",
}
_HEADER = """\
# The operators of ATen in PyTorch {version}: what each takes and gives, one a line, by name.
# Written by `python -m tests.exported.operator_table`; a test compares it with the installed PyTorch.
#
#   name.overload [core] argument:kind ... > kind ...
#
# core: one of the core set. Kinds: t tensor, i integer, f float, b truth value, n number, s text,
# d element type, l layout, v device, m memory format, g generator, x anything else; `?` may be None,
# `[]` a list, `!` written to, `=` may be left out.
"""


def table_text() -> str:
    """The table of the installed PyTorch, without the forms that take `out=`."""
    import torch

    lines = []
    for name in torch._C._dispatch_get_all_op_names():
        space, _, rest = name.partition("::")
        base, _, overload = rest.partition(".")
        packet = getattr(getattr(torch.ops, space, None), base, None)
        operator = getattr(packet, overload or "default", None)
        if space != "aten" or operator is None or _is_out(operator._schema):
            continue
        words = [f"{base}.{overload or 'default'}"]
        if torch.Tag.core in operator.tags:
            words.append("core")
        words += [_argument(argument) for argument in operator._schema.arguments]
        words += [">", *(_kind(str(each.real_type)) for each in operator._schema.returns)]
        lines.append(" ".join(words))
    version = torch.__version__.partition("+")[0]
    return _HEADER.format(version=version) + "".join(f"{line}\n" for line in sorted(lines))


def _is_out(schema: Any) -> bool:
    return any(argument.is_out for argument in schema.arguments)


def _argument(argument: Any) -> str:
    is_written = argument.alias_info is not None and argument.alias_info.is_write
    marks = "!" * is_written + "=" * argument.has_default_value()
    return f"{argument.name}:{_kind(str(argument.real_type))}{marks}"


def _kind(text: str) -> str:
    optional = re.fullmatch(r"Optional\[(.*)\]", text)
    if optional:
        return _kind(optional[1]) + "?"
    listed = re.fullmatch(r"List\[(.*)\]", text)
    if listed:
        return _kind(listed[1]) + "[]"
    return _KINDS.get(text, "x")


if __name__ == "__main__":
    TABLE.write_text(table_text())
    print(TABLE)

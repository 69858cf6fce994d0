"""Tensors as the command line writes them: `x=@x.npy`, `x=3`, `x:1x3x224x224`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...runtime.callspec import CallSpec
from ...runtime.errors import InputMismatchError
from ...runtime.manifest import Manifest, TensorSpec
from ...runtime.tensors import Array, storage_dtype
from ..errors import OptionError

_SEED = 20240607

Values = Mapping[str, object]


def parse_values(arguments: Sequence[str], manifest: Manifest) -> Values:
    """Values by input name. Raises OptionError, for all of `arguments` at once, where one says
    nothing.
    """
    specs = {spec.name: spec for spec in manifest.inputs}
    values: dict[str, object] = {}
    problems = []
    for argument in arguments:
        match = re.fullmatch(r"([^=:@]+)([=:])(.*)", argument)
        name = match.group(1) if match else argument
        if match is None:
            problems.append(f"{argument!r}: expected name=@file.npy, name=value or name:1x3x224")
        elif name not in specs:
            problems.append(f"{argument!r}: no such input; the inputs are {', '.join(specs)}")
        else:
            try:
                make = _given if match.group(2) == "=" else _of_shape
                values[name] = make(match.group(3), specs[name])
            except (OSError, ValueError) as error:
                problems.append(f"{argument!r}: {error}")
    if problems:
        raise OptionError("\n".join(problems))
    return values


def _given(text: str, spec: TensorSpec) -> object:
    if text.startswith("@"):
        loaded = np.load(Path(text[1:]).expanduser(), allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            raise ValueError("expected one array (.npy), got several (.npz)")
        return loaded
    if spec.kind == "bool":
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError("expected true or false")
        return text.lower() in ("true", "1")
    if spec.kind != "tensor":
        return int(text) if spec.kind == "int" else float(text)
    return np.asarray(float(text)).astype(storage_dtype(spec.dtype))


def _of_shape(text: str, spec: TensorSpec) -> Array:
    if not re.fullmatch(r"(\d+(x\d+)*)?", text):
        raise ValueError("expected sizes with x between them, as 1x3x224x224")
    return arbitrary_array(tuple(int(size) for size in text.split("x") if size), spec.dtype)


def arbitrary_array(shape: tuple[int, ...], dtype: str) -> Array:
    """Reproducible values: standard normal floats, integers 0 and 1 (which are valid indices
    nearly everywhere).
    """
    generator = np.random.default_rng(_SEED)
    storage = storage_dtype(dtype)
    if dtype == "bfloat16":  # its bits are the upper half of a float32's
        bits = generator.standard_normal(shape, dtype=np.float32).view(np.uint32)
        return np.asarray(bits >> 16).astype(storage)
    if dtype.startswith(("float8", "float4")):
        return np.asarray(generator.integers(0, 48, shape)).astype(storage)
    if storage.kind in "fc":
        return np.asarray(generator.standard_normal(shape)).astype(storage)
    return np.asarray(generator.integers(0, 2, shape)).astype(storage)


def with_arbitrary(values: Values, manifest: Manifest) -> Values:
    """`values`, with arbitrary ones for the inputs it lacks; symbolic sizes are those of given
    arrays, else small.
    """
    sizes = {symbol.name: max(symbol.min or 1, 1) for symbol in manifest.symbols}
    for spec in manifest.inputs:
        value = values.get(spec.name)
        if isinstance(value, np.ndarray):
            sizes.update((str(d), n) for d, n in zip(spec.shape, value.shape, strict=False))
    complete = dict(values)
    for spec in manifest.inputs:
        if spec.name in values:
            continue
        if spec.kind != "tensor":
            complete[spec.name] = {"int": 1, "float": 1.0, "bool": True}[spec.kind]
            continue
        unknown = [size for size in spec.shape if isinstance(size, str) and size not in sizes]
        if unknown:
            raise OptionError(
                f"input {spec.name}: give it as {spec.name}:{'x'.join(map(str, spec.shape))} with "
                f"numbers, since {unknown[0]} is not known"
            )
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape)
        complete[spec.name] = arbitrary_array(shape, spec.dtype)
    return complete


def call_arguments(
    values: Values, manifest: Manifest
) -> tuple[tuple[object, ...], dict[str, object]]:
    """(args, kwargs) of the program's own call. Raises InputMismatchError naming every input
    without a value.
    """
    missing = [f"{spec.name}: {spec}" for spec in manifest.inputs if spec.name not in values]
    if missing:
        raise InputMismatchError(
            "these inputs have no value (name=@file.npy, or name:1x3 for arbitrary numbers):\n  "
            + "\n  ".join(missing)
        )
    leaves = [
        values[manifest.inputs[argument.index].name] if argument.kind == "input" else argument.value
        for argument in manifest.arguments
    ]
    spec = CallSpec(
        manifest.in_spec,
        manifest.in_spec,  # results of this tree are calls
        manifest.forward_arg_names,
        manifest.namedtuple_fields,
    )
    tree = spec.unflatten(leaves)
    assert isinstance(tree, tuple), "an input treespec is a tuple of args and kwargs"
    args, kwargs = tree
    return tuple(args), dict(kwargs)


def result_arrays(result: object, manifest: Manifest) -> dict[str, object]:
    """The leaves of a result by their paths: {"result[0]": array}."""
    spec = CallSpec(
        '[1, {"type": "builtins.tuple", "context": "null", "children_spec": ['
        '{"type": "builtins.tuple", "context": "null", "children_spec": []}, '
        '{"type": "builtins.dict", "context": "[]", "children_spec": []}]}]',
        manifest.out_spec,
        (),
        manifest.namedtuple_fields,
    )
    from ...runtime.callspec import flatten_tree

    return dict(zip(spec.result_paths, flatten_tree(spec.out_tree, result, "result"), strict=True))

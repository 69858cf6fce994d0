"""`castoff.export` of NumPy functions: what the program is called with, gives back and changes."""

from __future__ import annotations

import collections
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import castoff
from castoff.compiler.exported.verifier import verify_program

from .checks import assert_captured, assert_compiled, assert_same

WEIGHT = np.linspace(-1, 1, 15, dtype=np.float32).reshape(3, 5)


def arrays(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


def layer(x: np.ndarray, scale: float = 2.0) -> dict[str, Any]:
    hidden = np.exp(x) / scale - 1
    hidden[0] = 7
    product = hidden @ WEIGHT
    return {"sum": product.sum(axis=1), "mean": product.mean(), "size": x.shape[1]}


def test_a_function_is_captured_compiled_and_loaded(tmp_path: Path) -> None:
    assert_captured(layer, arrays(4, 3))
    assert_compiled(layer, arrays(4, 3), folder=tmp_path)


def test_sizes_vary_where_dynamic_shapes_says_so(tmp_path: Path) -> None:
    others = ((arrays(1, 3),), (arrays(9, 3),))
    shapes = {"x": {0: castoff.Dim("batch")}}
    assert_captured(layer, arrays(4, 3), dynamic_shapes=shapes, others=others)
    assert_compiled(layer, arrays(4, 3), dynamic_shapes=shapes, others=others, folder=tmp_path)


def test_nodes_know_the_line_they_come_from() -> None:
    program = castoff.export(layer, (arrays(4, 3),))
    traces = [node.metadata["stack_trace"] for node in program.graph.nodes]
    assert any(
        "test_export.py" in trace and "in layer\n    hidden = np.exp(x) / scale - 1" in trace
        for trace in traces
    )


class Pair(NamedTuple):
    first: Any
    second: Any


def test_containers_and_keyword_arguments_keep_their_form() -> None:
    def f(items: Any, pair: Any, *rest: Any, options: Any) -> Any:
        total = items[0] + pair.second + rest[0] + options["shift"]
        return [total, (total * 2, None)], Pair(first=total.sum(), second="text"), {"n": 3, 7: True}

    x = arrays(2, 3)
    args = ([x, x], Pair(x, x), x)
    kwargs = {"options": collections.OrderedDict(shift=x, mode="plain")}
    program = castoff.export(f, args, kwargs)
    assert program.graph_signature is not None
    got = program.module()(*args, **kwargs)
    expected = f(*args, **kwargs)
    assert_same(list(got), list(expected))
    assert type(got[1]).__name__ == "Pair" and got[1].second == "text"


def test_numbers_among_the_arguments_are_fixed() -> None:
    program = castoff.export(layer, (arrays(4, 3), 4.0))
    run = program.module()
    assert_same(run(arrays(4, 3), 4.0), layer(arrays(4, 3), 4.0))
    with pytest.raises(castoff.InputMismatchError, match=r"expected 4\.0"):
        run(arrays(4, 3), 5.0)


def test_arguments_changed_in_place_are_changed_by_the_program(tmp_path: Path) -> None:
    def f(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x[1:] += y
        return x * 2

    x, y = arrays(3, 2), arrays(2)
    run = castoff.aot_load(castoff.aot_compile(f, (x, y), output=tmp_path / "f.so"))
    mine, theirs = x.copy(), x.copy()
    assert_same(run(mine, y), f(theirs, y))
    assert_same(mine, theirs)


def test_views_share_memory_as_numpy_has_it() -> None:
    def f(x: np.ndarray) -> list[np.ndarray]:
        x = x + 0
        first, column, back, cut = x[0], x[:, 1], x[::-1], x.reshape(2, 3, 2).transpose(2, 0, 1)
        first += 10
        column[2:] = -1
        back[0, 2] = 5
        cut[1, 1] *= 3
        flat = x.T.reshape(-1)  # a copy
        flat[:] = 0
        x.ravel()[3] = 100
        x.T[1] -= 1
        return [x, first, column, back, cut, flat]

    assert_captured(f, arrays(4, 3))


def test_the_file_is_read_back_and_has_one_digest(tmp_path: Path) -> None:
    program = castoff.export(layer, (arrays(4, 3),), dynamic_shapes=({0: castoff.Dim("b")},))
    castoff.save(program, tmp_path / "layer.pt2")
    read = castoff.load(tmp_path / "layer.pt2")
    verify_program(read)
    assert read.digest() == program.digest()
    assert_same(read.module()(arrays(6, 3)), layer(arrays(6, 3)))


@pytest.mark.torch
def test_pytorch_opens_and_runs_the_file(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    program = castoff.export(
        layer, (arrays(4, 3), 2.0), dynamic_shapes=({0: castoff.Dim("batch", max=64)}, None)
    )
    castoff.save(program, tmp_path / "layer.pt2")
    opened = torch.export.load(tmp_path / "layer.pt2")
    x = arrays(7, 3)
    got = opened.module()(torch.from_numpy(x), 2.0)
    assert_same({k: v.numpy() if hasattr(v, "numpy") else v for k, v in got.items()}, layer(x))


def test_importing_castoff_imports_nothing_of_the_compiler() -> None:
    code = "import castoff, sys; print([m for m in sys.modules if 'castoff.compiler' in m])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

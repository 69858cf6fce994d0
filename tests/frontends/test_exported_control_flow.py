"""Branches, loops, regions and checks in programs that torch.export wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import castoff  # noqa: E402
from castoff.compiler.errors import UnsupportedOperatorError  # noqa: E402
from castoff.compiler.exported import load_program  # noqa: E402
from castoff.compiler.frontends.exported import import_program  # noqa: E402
from castoff.compiler.verify import ReferenceProgram  # noqa: E402
from castoff.runtime.errors import CastoffError  # noqa: E402

from .programs import Dim, Function, check, exported_bytes, floats, imported  # noqa: E402


def test_cond_takes_the_right_branch() -> None:
    weight = floats(3)

    def function(x: Any) -> Any:
        return torch.cond(
            x.sum() > 0,
            lambda x: (x.sin() + weight, x.sum()),
            lambda x: (x.cos() * 2, x.mean()),
            (x,),
        )

    check(function, (floats(3) + 5,), (floats(3) - 5,))


def test_only_the_branch_taken_runs(tmp_path: Path) -> None:
    def careful(x: Any) -> Any:
        torch.ops.aten._assert_async.msg(x.sum() < 100, "the sum is too large")
        return x * 2

    def function(x: Any) -> Any:
        return torch.cond(x[0] > 0, careful, lambda x: x - 1, (x,))

    program = exported_bytes(Function(function), (floats(3),), core=False)
    compiled = castoff.aot_load(castoff.aot_compile(program, output=tmp_path / "m.so"))
    large = np.array([0, 1000, 1], np.float32)
    for run in (compiled, imported(function, (floats(3),))):
        np.testing.assert_array_equal(run(large), large - 1)
        np.testing.assert_array_equal(run(large / 1000 + 1), large / 500 + 2)
        with pytest.raises(CastoffError, match="the sum is too large"):
            run(large + 1)


def test_runtime_assertions_can_be_left_out(tmp_path: Path) -> None:
    def function(x: Any, n: Any) -> Any:
        torch._check(n.item() != 7)
        torch.ops.aten._assert_async.msg(x.sum() < 100, "the sum is too large")
        return x + n

    arguments = floats(3), torch.tensor(3)
    program = exported_bytes(Function(function), arguments, core=False)
    large = np.full(3, 1000, np.float32), np.array(7)
    strict = castoff.aot_load(castoff.aot_compile(program, output=tmp_path / "strict.so"))
    with pytest.raises(CastoffError):
        strict(*large)
    path = castoff.aot_compile(program, output=tmp_path / "free.so", remove_runtime_assertions=True)
    np.testing.assert_array_equal(castoff.aot_load(path)(*large), large[0] + 7)


def test_every_unknown_operator_is_named_at_once_with_its_lines(tmp_path: Path) -> None:
    library = torch.library.Library("sweeptest", "FRAGMENT")
    for name in ("one", "two"):
        library.define(f"{name}(Tensor x) -> Tensor")
        library.impl(name, lambda x: x.clone(), "CompositeExplicitAutograd")
        library.impl(name, torch.empty_like, "Meta")

    def function(x: Any) -> Any:
        x = torch.ops.sweeptest.one(x)
        return torch.ops.sweeptest.two(torch.ops.sweeptest.one(x))

    program = exported_bytes(Function(function), (floats(3),), core=False)
    with pytest.raises(UnsupportedOperatorError) as caught:
        castoff.aot_compile(program, output=tmp_path / "m.so")
    said = str(caught.value)
    for name, uses in (("one", "2 uses"), ("two", "1 use")):
        how = f'not registered (castoff.register_custom_op("sweeptest::{name}", …) adds it)'
        assert f"sweeptest.{name}.default: {how}; {uses}\n" in said
    assert said.count("programs.py:") == 2, "the line that all of them stand on, for each operator"


def test_random_numbers_follow_from_the_seed_and_are_different_for_each_operator(
    tmp_path: Path,
) -> None:
    def function(x: Any) -> Any:
        inside = torch.cond(
            x.sum() > 0, lambda x: torch.rand_like(x), lambda x: torch.rand_like(x) + 1, (x,)
        )
        return torch.rand_like(x), torch.rand_like(x), inside

    program = exported_bytes(Function(function), (floats(64),), core=False)
    numbers = floats(64).numpy()
    drawn = []
    for seed in (0, 0, 7):
        path = castoff.aot_compile(program, output=tmp_path / "m.so", options={"random_seed": seed})
        drawn.append(np.stack(castoff.aot_load(path)(numbers)))
        by_reference = ReferenceProgram(import_program(load_program(program), random_seed=seed))
        np.testing.assert_array_equal(drawn[-1], np.stack(by_reference(numbers)))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert len(np.unique(np.stack([drawn[0], drawn[2]]))) > 6 * 64 - 3


def test_tensors_of_sizes_and_ranges_of_fractions() -> None:
    def function(x: Any) -> Any:
        rows, columns = x.shape
        return (
            torch.tensor([[rows, columns], [1, rows * 2]]),
            torch.tensor([rows / 2, 1.5]),
            torch.arange(0.5, rows + 0.5),
            torch.arange(0, rows, 0.75),
            torch.arange(rows * 1.5, 1.0, -2, dtype=torch.int64),
        )

    sizes = {0: Dim("rows", min=3, max=40), 1: Dim.AUTO}
    for core in (False, True):
        check(
            function, (floats(6, 2),), (floats(7, 3),), (floats(9, 2),),
            core=core, dynamic_shapes=((sizes,),),
        )  # fmt: skip


def test_the_length_of_a_range_may_follow_from_values() -> None:
    check(lambda n: torch.arange(n.item()) * 2, (torch.tensor(3.5),), (torch.tensor(6.0),))


@pytest.mark.parametrize("core", [False, True], ids=["training", "core"])
def test_out_dtype_computes_in_the_wider_type(core: bool) -> None:
    out_dtype = torch.ops.higher_order.out_dtype

    def function(x: Any, y: Any) -> Any:
        product = out_dtype(torch.ops.aten.mm.default, torch.int32, x, y)
        return product, out_dtype(torch.ops.aten.mul.Tensor, torch.int32, x, x)

    integers = torch.arange(-60, 60, dtype=torch.int8)
    check(function, (integers[:12].reshape(3, 4), integers[-20:].reshape(4, 5)), core=core)


def test_cond_on_a_size() -> None:
    def function(x: Any) -> Any:
        return torch.cond(x.shape[0] > 4, lambda x: x + 1, lambda x: x - 1, (x,))

    check(function, (floats(6),), (floats(3),), dynamic_shapes=(({0: Dim("n")},),))


def test_branches_may_give_different_sizes() -> None:
    def function(x: Any) -> Any:
        rows, total = torch.cond(
            x.sum() > 0,
            lambda x: (x[:3, :2] * 2, x.sum()),
            lambda x: (x[:1] + 1, x.mean()),
            (x,),
        )
        return rows.sum(), rows, total

    check(function, (floats(4, 4) + 9,), (floats(4, 4) - 9,), core=False)
    check(function, (floats(4, 4) - 9,), (floats(4, 4) + 9,))


def test_branches_may_give_sizes_that_follow_from_the_inputs_or_their_values() -> None:
    def doubled(x: Any) -> Any:
        return torch.cond(
            x.sum() > 0, lambda x: x[1:].clone(), lambda x: torch.cat([x, x]), (x,)
        ) + torch.ones(2)

    sizes = ({0: Dim("rows", min=3)},)
    check(doubled, (floats(4, 2) + 9,), (floats(6, 2) - 9,), dynamic_shapes=(sizes,))

    def chosen(x: Any) -> Any:
        return torch.cond(x.sum() > 0, lambda x: x[x > 1], lambda x: x[x < 0] * 2, (x,))

    check(chosen, (floats(6) + 1,), (floats(6) - 9,), (floats(6) * 0 + 0.5,))


def test_while_loops() -> None:
    from torch._higher_order_ops.while_loop import while_loop

    def function(x: Any, n: Any) -> Any:
        return while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y * 1.5 + x), (n * 0, x.clone()))

    check(function, (floats(3), torch.tensor(4)), (floats(3), torch.tensor(0)))


def test_scans_and_maps() -> None:
    from torch._higher_order_ops.map import map as torch_map
    from torch._higher_order_ops.scan import scan

    def function(xs: Any, y: Any) -> Any:
        carried, stacked = scan(lambda c, x: (c * 0.5 + x, (c + x).sin()), y, xs)
        mapped = torch_map(lambda x, y: x * y + x.sum(), xs, y)
        return carried, stacked, mapped

    check(function, (floats(5, 3), floats(3)))


def test_reversed_scan_of_trees() -> None:
    from torch._higher_order_ops.scan import scan

    def combine(carry: Any, x: Any) -> Any:
        total = carry["s"] + x["a"] * x["b"]
        return {"s": total}, (total * 2, x["a"] + 1)

    def function(a: Any, b: Any) -> Any:
        return scan(combine, {"s": torch.zeros(3)}, {"a": a, "b": b}, reverse=True)

    check(function, (floats(4, 3), floats(4, 3) + 1))


def test_associative_scans() -> None:
    from torch._higher_order_ops.associative_scan import associative_scan

    def function(x: Any) -> Any:
        return associative_scan(lambda a, b: a * b + a, x, dim=1, combine_mode="generic")

    check(function, (floats(3, 7) * 0.3,), rtol=1e-4)


def test_vmaps() -> None:
    def function(x: Any, y: Any) -> Any:
        inner = torch.vmap(lambda a: a.softmax(0) + a.sum())(x)
        crossed = torch.vmap(lambda a, b: a @ b, in_dims=(None, 1), out_dims=1)(x, y)
        nested = torch.vmap(lambda a: torch.vmap(lambda b: a * b.max())(y))(x)
        return inner, crossed, nested

    check(function, (floats(3, 4), floats(4, 2)))


def test_autocast_and_no_grad_regions_are_inlined() -> None:
    def function(x: Any, w: Any) -> Any:
        with torch.no_grad():
            y = x * 2
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = (y @ w).float()
        return z + 1

    check(function, (floats(2, 3), floats(3, 2)), rtol=2e-2)


def test_autocast_narrows_what_composite_operators_multiply() -> None:
    def function(x: Any, w: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = x @ w
            results = (
                torch.einsum("ij,kj->ik", y, x),
                torch.einsum("ij,jk", w, x),
                torch.einsum("ij,ij->ij", x, x),
                torch.tensordot(x, w, 1),
                torch.matrix_power(x, 3),
            )
        return [r.float() for r in results], [r.dtype == torch.float32 for r in results]

    check(function, (floats(3, 3) / 3, floats(3, 3) / 3), rtol=2e-2)

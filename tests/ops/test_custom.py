"""Operators of the user's own: schemas, refusals, what C and NumPy are given."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import castoff
import castoff.compiler.ops
from castoff.compiler.ir.dtypes import DType
from castoff.compiler.ir.graph import TensorType
from castoff.compiler.ops import base, custom
from castoff.compiler.ops.base import OperatorError, find_target
from castoff.compiler.ops.function_schema import SchemaError, parse_schema

from ..graphs import GraphBuilder, build, generated, load, reference, size

C_SOURCE = "int t_same(const castoff_operand *inputs, const castoff_operand *outputs) { return 0; }"


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registrations of a test end with it."""
    castoff.compiler.ops.load_families()
    monkeypatch.setattr(base, "_TARGETS", dict(base._TARGETS))
    monkeypatch.setattr(custom, "_OPERATORS", {})


def same(x: TensorType, *_: Any, **__: Any) -> TensorType:
    return x


# ---- schemas


def test_schema_is_read_with_types_defaults_and_keywords() -> None:
    schema = parse_schema(
        "a::f.wide",
        "a::f.wide(Tensor x, Tensor[] xs, SymInt[2] n=[1, 2], *, Scalar? s=None, "
        "str mode='a,b') -> (Tensor, Tensor y)",
    )
    assert schema.target == "a.f.wide" and schema.c_name == "a_f_wide" and schema.results == 2
    assert [p.kind for p in schema.parameters] == ["Tensor", "Tensor[]", "int[]", "float?", "str"]
    assert [p.default for p in schema.parameters[2:]] == [(1, 2), None, "a,b"]
    assert schema.parameters[0].default is inspect.Parameter.empty
    assert [p.is_keyword_only for p in schema.parameters] == [False] * 3 + [True] * 2


@pytest.mark.parametrize(
    ("name", "schema", "complaint"),
    [
        ("f", "(Tensor x) -> Tensor", "is no operator's name"),
        ("a::f", "a::g(Tensor x) -> Tensor", "names another operator, 'a::g'"),
        ("a::f", "(Tensor x)", "does not read"),
        ("a::f", "(Tensor) -> Tensor", "does not read `Type x`: 'Tensor'"),
        ("a::f", "(Tensor(a!) x) -> Tensor", "x is changed or aliased"),
        ("a::f", "(Dict x) -> Tensor", "has the type Dict for x"),
        ("a::f", "(int x=y) -> Tensor", "a default that is no constant: 'y'"),
        ("a::f", "(int x, int x) -> Tensor", "two parameters called x"),
        ("a::f", "(int x=1, int y) -> Tensor", "y without a default"),
        ("a::f", "(Tensor x) -> int", "returns int; custom operators return"),
        ("a::f", "(Tensor x) -> ()", "returns ()"),
    ],
)
def test_bad_schemas_are_refused_in_one_sentence(name: str, schema: str, complaint: str) -> None:
    with pytest.raises(SchemaError) as caught:
        castoff.register_custom_op(name, schema, same, c_source=C_SOURCE)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)


# ---- registration


@pytest.mark.parametrize(
    ("name", "sources", "complaint"),
    [
        ("t::same", {}, "t::same has no source: give c_source= or cuda_source="),
        ("aten::relu", {"c_source": "int aten_relu() {}"}, "has built in (aten.relu.default)"),
        ("t::same_", {"c_source": C_SOURCE}, "ends with an underscore"),
        ("t::other", {"c_source": C_SOURCE}, "does not define t_other()"),
        ("t::same", {"c_source": '#include "a.h"\n' + C_SOURCE}, 'includes "a.h"'),
    ],
)
def test_what_cannot_be_registered_is_refused(
    name: str, sources: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(castoff.RegistrationError) as caught:
        castoff.register_custom_op(name, "(Tensor x) -> Tensor", same, **sources)
    assert complaint in str(caught.value)


def test_registering_the_same_again_does_nothing_and_another_is_refused() -> None:
    schema = "t::same(Tensor x) -> Tensor"
    first = castoff.register_custom_op("t::same", schema, same, c_source=C_SOURCE)
    assert castoff.register_custom_op("t::same", schema, same, c_source=C_SOURCE) is first
    with pytest.raises(castoff.RegistrationError, match="already registered"):
        castoff.register_custom_op("t::same", schema, same, c_source=C_SOURCE + "\n")


def test_packages_register_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    class Entry:
        name, value = "mylib", "mylib:register"

        def load(self) -> Callable[[], None]:
            return lambda: called.append(self.name)

    groups = {"castoff.ops": [Entry()]}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: groups[group])
    custom.load_packages.cache_clear()
    try:
        custom.load_packages()
        custom.load_packages()
        assert called == ["mylib"]
        custom.load_packages.cache_clear()
        monkeypatch.setattr(Entry, "load", lambda self: 1 / 0)
        with pytest.raises(castoff.RegistrationError, match=r"mylib = mylib:register \(cast"):
            custom.load_packages()
    finally:
        monkeypatch.undo()
        custom.load_packages.cache_clear()


# ---- calls

EVERYTHING = """
#include <string.h>
static double total(const int64_t *n, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += (double)n[i];
    return sum;
}
int t_all(const castoff_operand *inputs, const castoff_operand *outputs, int64_t xs_count,
          int has_maybe, int64_t k, int flag, const int64_t *n, int64_t n_count, const double *w,
          int64_t w_count, const char *mode, int has_s, double s, int dtype) {
    if (strcmp(mode, "say \\"so\\"") != 0) return 1;
    float *y = outputs[0].data;
    const float *x = inputs[0].data;
    double added = (double)k + flag + total(n, n_count) + (has_s ? s : 1000) + dtype * 100;
    added += has_maybe ? 1e6 : 0;
    for (int64_t i = 0; i < w_count; ++i) added += w[i];
    for (int64_t t = 1; t <= xs_count; ++t)
        added += ((const float *)inputs[t].data)[0] * (float)inputs[t].rank;
    for (int64_t i = 0; i < inputs[0].count; ++i) y[i] = x[i] + (float)added;
    ((int64_t *)outputs[1].data)[0] = inputs[0].rank ? inputs[0].shape[0] : -1;
    return 0;
}
"""
EVERYTHING_SCHEMA = (
    "(Tensor x, Tensor[] xs, Tensor? maybe, SymInt k, bool flag=True, *, int[] n, "
    "float[] w=[0.25, 0.5], str mode='say \"so\"', float? s=None, ScalarType dtype) "
    "-> (Tensor, Tensor)"
)


def everything(
    x: np.ndarray, xs: list[np.ndarray], maybe: np.ndarray | None, k: int, flag: bool, **named: Any
) -> tuple[np.ndarray, np.ndarray]:
    added = k + flag + sum(named["n"]) + (named["s"] if named["s"] is not None else 1000)
    added += sum(named["w"]) + sum(float(t.reshape(-1)[0]) * t.ndim for t in xs)
    added += 100 * custom.DTYPE_CODES[named["dtype"]] + (1e6 if maybe is not None else 0)
    return x + np.float32(added), np.array(x.shape[0])


def infer_everything(x: TensorType, *_: Any, **__: Any) -> tuple[TensorType, TensorType]:
    return x, TensorType(DType.INT64, ())


@pytest.mark.parametrize("has_maybe", [False, True])
def test_every_kind_of_argument_arrives_in_c_as_in_numpy(tmp_path: Path, has_maybe: bool) -> None:
    castoff.register_custom_op(
        "t::all", EVERYTHING_SCHEMA, infer_everything, c_source=EVERYTHING, reference=everything
    )
    b = GraphBuilder()
    rows = size("rows")
    x, first, second = b.input("x", rows, 3), b.input("first", 2), b.input("second", 2, 2)
    outputs = b.call(
        "t.all.default", x, [first, second], first if has_maybe else None, rows,
        n=[4, rows + 1], dtype=DType.INT8, **({"s": 2.5, "flag": False} if has_maybe else {}),
    )  # fmt: skip
    graph = b.graph(*outputs)
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(s).astype(np.float32) for s in ((5, 3), (2,), (2, 2))]
    got, rank = load(graph, tmp_path)(*arrays)
    wanted, wanted_rank = reference(graph, *arrays)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert rank == wanted_rank == 5


FAILING = """
int t_same(const castoff_operand *inputs, const castoff_operand *outputs) {
    (void)outputs;
    return inputs[0].count > 2;
}
"""


def one_call(**registration: Any) -> Any:
    castoff.register_custom_op("t::same", "(Tensor x) -> Tensor", **{"infer": same, **registration})
    b = GraphBuilder()
    return b.graph(b.call("t.same.default", b.input("x", 3)))


def test_a_failing_function_makes_the_run_fail(tmp_path: Path) -> None:
    runner = load(one_call(c_source=FAILING), tmp_path)
    with pytest.raises(castoff.CastoffError, match="t::same failed"):
        runner(np.zeros(3, np.float32))


def test_source_is_carried_in_the_tree_and_gives_equal_bytes(tmp_path: Path) -> None:
    graph = one_call(c_source=FAILING)
    tree = generated(graph).tree
    assert FAILING in tree.files()["custom/t_same.h"]
    first, second = (tmp_path / name for name in ("first", "second"))
    first.mkdir()
    second.mkdir()
    built = [build(graph, folder, cache=False).read_bytes() for folder in (first, second)]
    assert built[0] == built[1]


def test_changed_source_is_not_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "cache")
    runner = load(one_call(c_source=FAILING), tmp_path, cache_folder=folder)
    with pytest.raises(castoff.CastoffError, match="failed"):
        runner(np.zeros(3, np.float32))
    monkeypatch.setattr(custom, "_OPERATORS", {})
    base._TARGETS.pop("t.same.default")
    (tmp_path / "again").mkdir()
    changed = FAILING.replace("inputs[0].count > 2", "0")
    runner = load(one_call(c_source=changed), tmp_path / "again", cache_folder=folder)
    runner(np.zeros(3, np.float32))


def test_source_with_another_signature_does_not_compile(tmp_path: Path) -> None:
    source = "int t_same(const castoff_operand *inputs) { return inputs != 0; }"
    with pytest.raises(castoff.CompileError, match=r"t_same\.c"):
        build(one_call(c_source=source), tmp_path)


def test_cuda_source_alone_is_refused_on_the_cpu(tmp_path: Path) -> None:
    graph = one_call(cuda_source="…")
    found = custom.find_custom_op("t::same")
    assert found is not None and found.cuda_source == "…"
    with pytest.raises(OperatorError, match="registered with cuda_source= alone"):
        build(graph, tmp_path)


def test_reference_that_is_missing_is_named() -> None:
    with pytest.raises(OperatorError, match="t::same was registered without reference="):
        reference(one_call(c_source=C_SOURCE), np.zeros(3, np.float32))


@pytest.mark.parametrize("result", [None, 3, ()])
def test_inference_that_gives_no_types_is_named(result: Any) -> None:
    with pytest.raises(OperatorError, match="infer of t::same"):
        one_call(c_source=C_SOURCE, infer=lambda x: result)


def test_numbers_known_only_at_run_time_are_refused() -> None:
    castoff.register_custom_op(
        "t::same", "(Tensor x, float f) -> Tensor", same, c_source=C_SOURCE
    )  # fmt: skip
    b = GraphBuilder()
    x = b.input("x", 3)
    with pytest.raises(OperatorError, match="make it a Tensor in the schema"):
        b.call("t.same.default", x, base.WeakScalar(b.full((), 1.0, DType.FLOAT64)))
    assert find_target("t.same.default") is not None


def test_codes_of_the_header_are_those_of_the_compiler() -> None:
    header = (Path(custom.__file__).parents[2] / "templates/common/custom.h").read_text()
    inside = header.partition("enum castoff_dtype {")[2].partition("}")[0]
    names = [name.strip() for name in inside.split(",")]
    assert names == [f"CASTOFF_{dtype.value.upper()}" for dtype in custom.DTYPE_CODES]

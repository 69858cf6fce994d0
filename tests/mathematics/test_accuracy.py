"""The elementary functions keep the errors of the accuracy table, and their loops vectorise."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import mpmath
import numpy as np
import pytest

from ..processor import needs_level
from .accuracy import F32, F64, NOT_VECTORISED
from .clib import COMMON, FLAGS, LEVELS, Loops, c_compiler, compile_loops, loops, same

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
FUNCTIONS_F32 = (
    *tuple(same(name, "f32", row.arguments) for name, row in F32.items()),
    same("nextafter", "f32", 2),
    same("remainder", "f32", 2),
    same("floor_divide", "f32", 2),
    same("frexp_mantissa", "f32"),
    same("frexp_exponent", "f32", result="i32"),
    same("exp_decay", "f32"),
    same("softplus", "f32", 3),
)
FUNCTIONS_F64 = tuple(same(name, "f64") for name in F64) + tuple(
    same(name, "f64") for name in ("exp_decay", "floor", "ceil", "trunc", "round", "frexp_mantissa")
)


@pytest.fixture(scope="module", params=LEVELS)
def float_loops(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loops:
    """The float functions compiled for one CPU level."""
    level = str(request.param)
    needs_level(level)
    folder = tmp_path_factory.mktemp("math")
    return compile_loops(folder, f"f32-{level}", ["math_f32.h"], FUNCTIONS_F32, f"-march={level}")


@pytest.fixture(scope="module")
def double_loops(tmp_path_factory: pytest.TempPathFactory) -> Loops:
    """The double functions compiled for the baseline."""
    return compile_loops(tmp_path_factory.mktemp("math"), "f64", ["math_f64.h"], FUNCTIONS_F64)


def ulp_errors(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """|got - want| in ulp of float; infinite where NaN, infinity or a zero's sign differ."""
    rounded = want.astype(np.float32)
    exponent = np.frexp(np.where(np.isfinite(want), np.abs(want), 1))[1]
    unit = np.exp2(np.maximum(exponent - 24, -149).astype(np.float64))
    errors = np.abs(got.astype(np.float64) - want) / unit
    errors = np.where(
        np.isinf(rounded) != np.isinf(got), np.where(np.abs(want) > 3.4028234e38, 1, np.inf), errors
    )
    errors = np.where(np.isnan(want) | (got == rounded), 0, errors)
    errors = np.where(np.isnan(want) != np.isnan(got), np.inf, errors)
    return np.where(
        (want == 0) & (got == 0) & (np.signbit(want) != np.signbit(got)), np.inf, errors
    )


@pytest.mark.parametrize("name", F32)
def test_float_function_keeps_its_error_bound(
    float_loops: Loops, floats: np.ndarray, float_pairs: tuple[np.ndarray, np.ndarray], name: str
) -> None:
    row = F32[name]
    arguments = (floats,) if row.arguments == 1 else float_pairs
    if (
        name == "silu"
    ):  # below, it is a multiple of a subnormal sigmoid; PyTorch too has NaN at -infinity
        arguments = (floats[~(floats < -87)],)
    if name == "log_sigmoid":  # the tail is a negative zero from where double has none
        arguments = (floats[~(floats > 700)],)
    want = row.reference(*(x.astype(np.float64) for x in arguments))
    got = float_loops(f"{name}_f32", *arguments)
    errors = ulp_errors(got, want)
    errors = np.where((np.abs(got - want) <= row.absolute) & (want != 0), 0, errors)
    if name in ("maximum", "minimum", "fmax", "fmin", "sinc"):  # the sign of a zero is left open
        errors = np.where(got == want, 0, errors)
    worst = int(np.argmax(errors))
    assert errors[worst] <= row.ulp, (
        f"{name}{[x[worst] for x in arguments]} = {got[worst]}, not {want[worst]}"
    )


@pytest.mark.parametrize("level", LEVELS)
def test_float_loops_vectorise(tmp_path: Path, level: str) -> None:
    functions = tuple(
        same(name, "f32", row.arguments) for name, row in F32.items() if name not in NOT_VECTORISED
    )
    source = tmp_path / "vectorised.c"
    source.write_text(loops(["math_f32.h"], functions))
    command = [
        c_compiler(),
        *FLAGS,
        f"-march={level}",
        "-fopt-info-vec",
        f"-I{COMMON}",
        "-c",
        str(source),
    ]
    run = subprocess.run(
        [*command, "-o", str(tmp_path / "out.o")], capture_output=True, text=True, check=True
    )
    lines = {int(line) for line in re.findall(r"vectorised\.c:(\d+):.*loop vectorized", run.stderr)}
    missed = [function.name for number, function in enumerate(functions, 2) if number not in lines]
    assert not missed


def test_next_float_is_numpys(
    float_loops: Loops, float_pairs: tuple[np.ndarray, np.ndarray]
) -> None:
    got, want = float_loops("nextafter_f32", *float_pairs), np.nextafter(*float_pairs)
    assert np.array_equal(got, want, equal_nan=True)


def test_floor_division_and_remainder_follow_the_divisor(
    float_loops: Loops, float_pairs: tuple[np.ndarray, np.ndarray]
) -> None:
    left, right = float_pairs
    rest = np.fmod(left, right)
    want = np.where((rest != 0) & ((rest < 0) != (right < 0)), rest + right, rest)
    assert np.array_equal(float_loops("remainder_f32", left, right), want, equal_nan=True)
    small = (np.abs(left) < 1e4) & (np.abs(right) > 1e-2) & np.isfinite(right)
    got = float_loops("floor_divide_f32", left[small], right[small])
    assert np.array_equal(got, np.floor_divide(left[small], right[small]), equal_nan=True)


def test_mantissa_and_exponent_rebuild_the_number(float_loops: Loops, floats: np.ndarray) -> None:
    mantissa, exponent = np.frexp(floats)
    finite = np.isfinite(floats)
    assert np.array_equal(float_loops("frexp_mantissa_f32", floats), mantissa, equal_nan=True)
    assert np.array_equal(float_loops("frexp_exponent_f32", floats)[finite], exponent[finite])


def test_exp_decay_is_exp_of_what_is_not_positive(
    float_loops: Loops, double_loops: Loops, floats: np.ndarray
) -> None:
    x = -np.abs(floats)
    want = np.exp(x.astype(np.float64))
    assert np.nanmax(ulp_errors(float_loops("exp_decay_f32", x), want)) <= F32["exp"].ulp
    assert np.array_equal(np.isnan(float_loops("exp_decay_f32", x)), np.isnan(x))
    wide = x.astype(np.float64)
    same = double_loops("exp_f64", wide)
    assert np.array_equal(double_loops("exp_decay_f64", wide), same, equal_nan=True)


def test_softplus_is_linear_above_its_threshold(float_loops: Loops, floats: np.ndarray) -> None:
    beta, threshold = np.full_like(floats, 2), np.full_like(floats, 20)
    wide = floats.astype(np.float64)
    want = np.where(floats * 2 > 20, wide, np.logaddexp(0, 2 * wide) / 2)
    assert np.nanmax(ulp_errors(float_loops("softplus_f32", floats, beta, threshold), want)) <= 1.01


_MPMATH = {
    "exp2": lambda x: mpmath.mpf(2) ** x,
    "log2": lambda x: mpmath.log(x, 2),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
}


@pytest.mark.parametrize("name", F64)
def test_double_function_keeps_its_error_bound(double_loops: Loops, name: str) -> None:
    rng = np.random.default_rng(2)
    reach = 1.0 if name in ("asin", "acos", "atanh", "erf") else 5.0 if name == "erfc" else 30.0
    points = rng.uniform(-reach, reach, 400)
    if name in ("log", "log2", "log10", "rsqrt", "acosh", "log1p"):
        points = np.concatenate(
            [rng.lognormal(0, 20, 300), rng.uniform(0.5, 2, 200), [5e-324, 1e-310]]
        )
    if name == "acosh":
        points = points[points >= 1]
    got = double_loops(f"{name}_f64", points)
    function = _MPMATH.get(name) or getattr(mpmath, name)
    with mpmath.workdps(40):
        exact = [function(mpmath.mpf(float(x))) for x in points]
        errors = [
            float(abs(mpmath.mpf(float(g)) - w) / np.spacing(abs(float(w))))
            for g, w in zip(got, exact, strict=True)
        ]
    assert max(errors) <= F64[name], points[int(np.argmax(errors))]


def test_double_edges_are_numpys(double_loops: Loops, floats: np.ndarray) -> None:
    edges = np.concatenate(
        [
            floats[:60].astype(np.float64),
            [709.8, 710.5, -744, -745.2, -746, 2.0**52, 2.0**53 + 2, 5e-324],
        ]
    )
    references = {
        "exp": np.exp,
        "log": np.log,
        "floor": np.floor,
        "ceil": np.ceil,
        "trunc": np.trunc,
        "round": np.rint,
    }
    for name, reference in references.items():
        np.testing.assert_allclose(
            double_loops(f"{name}_f64", edges), reference(edges), rtol=4e-16, atol=5e-324
        )
    assert np.array_equal(
        double_loops("frexp_mantissa_f64", edges), np.frexp(edges)[0], equal_nan=True
    )


def test_no_argument_leads_to_undefined_behaviour(
    tmp_path: Path, floats: np.ndarray, float_pairs: tuple[np.ndarray, np.ndarray]
) -> None:
    flags = (
        "-O1",
        "-fsanitize=undefined,float-cast-overflow",
        "-fsanitize-undefined-trap-on-error",
    )
    functions = FUNCTIONS_F32 + FUNCTIONS_F64
    checked = compile_loops(tmp_path, "checked", ["math_f32.h", "math_f64.h"], functions, *flags)
    for function in functions:  # a trap ends the process
        arguments = (floats,) if len(function.arguments) == 1 else float_pairs
        checked(
            function.name,
            *(
                arguments[: len(function.arguments)]
                if len(function.arguments) < 3
                else (floats,) * 3
            ),
        )

"""What a loaded program does with arguments, good and bad."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from handmade import WEIGHT

import castoff
from castoff.runtime.errors import (
    ConstantError,
    DeviceError,
    InputMismatchError,
    ProgramError,
)
from castoff.runtime.runner import Runner, aot_load


def expected(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 2 * x + y + WEIGHT


def sample(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return (
        generator.standard_normal((rows, 4), dtype=np.float32),
        generator.standard_normal((rows, 4), dtype=np.float32),
    )


@pytest.mark.parametrize("rows", [1, 2, 17, 1000])
def test_call_answers_for_every_size_of_a_symbolic_dimension(affine: Path, rows: int) -> None:
    run = aot_load(affine)
    x, y = sample(rows)
    for _ in range(3):
        np.testing.assert_array_equal(run(x, y), expected(x, y))


def test_positional_arguments_may_be_named(affine: Path) -> None:
    run = aot_load(affine)
    x, y = sample(3)
    np.testing.assert_array_equal(run(y=y, x=x), expected(x, y))
    np.testing.assert_array_equal(run(x, y=y), expected(x, y))


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "fortran": np.asfortranarray,
    "reversed": lambda x: x[::-1].copy()[::-1],
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "big_endian": lambda x: x.astype(">f4"),
    "misaligned": lambda x: np.frombuffer(b"?" + x.tobytes(), np.float32, offset=1).reshape(
        x.shape
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_call_accepts_any_layout(affine: Path, layout: str) -> None:
    run = aot_load(affine)
    x, y = sample(5)
    for _ in range(2):
        np.testing.assert_array_equal(run(LAYOUTS[layout](x), y), expected(x, y))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_may_change_from_call_to_call(affine: Path, layout: str) -> None:
    run = aot_load(affine)
    x, y = sample(6)
    for x_given in (x, LAYOUTS[layout](x), x, LAYOUTS[layout](x)):
        np.testing.assert_array_equal(run(x_given, y), expected(x, y))


def test_program_goes_with_its_last_reference(affine: Path) -> None:
    run = aot_load(affine)
    run(*sample(2))
    reference = weakref.ref(run)
    gc.disable()
    try:
        del run
        assert reference() is None
    finally:
        gc.enable()


def test_call_accepts_read_only_arrays_where_the_program_only_reads(affine: Path) -> None:
    x, y = sample(2)
    x.flags.writeable = False
    np.testing.assert_array_equal(aot_load(affine)(x, y), expected(x, y))


class Foreign:
    """A tensor of a library that knows DLPack only."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **keywords: object) -> object:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


class Interface:
    """An object that offers the array interface only."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__


def test_call_accepts_dlpack_and_the_array_interface(affine: Path) -> None:
    x, y = sample(2)
    np.testing.assert_array_equal(aot_load(affine)(Foreign(x), Interface(y)), expected(x, y))


def test_results_do_not_share_memory_between_calls(affine: Path) -> None:
    run = aot_load(affine)
    x, y = sample(2)
    first = run(x, y)
    kept = first.copy()
    run(y, x)
    np.testing.assert_array_equal(first, kept)


def test_torch_tensors_give_torch_tensors(affine: Path) -> None:
    torch = pytest.importorskip("torch")
    x, y = sample(2)
    result = aot_load(affine)(torch.from_numpy(x), torch.from_numpy(y))
    assert isinstance(result, torch.Tensor)
    out = torch.empty(2, 4)
    assert aot_load(affine)(torch.from_numpy(x), y, out=out) is out
    assert torch.equal(out, result)
    np.testing.assert_array_equal(result.numpy(), expected(x, y))


# ---- out= ----


def test_out_receives_the_result(affine: Path) -> None:
    run = aot_load(affine)
    x, y = sample(3)
    for out in (
        np.empty((3, 4), np.float32),
        np.empty((4, 3), np.float32).T,
        np.empty((3, 4), ">f4"),
    ):
        assert run(x, y, out=out) is out
        np.testing.assert_array_equal(out, expected(x, y))


def test_out_may_be_an_input(affine: Path) -> None:
    run = aot_load(affine)
    x, y = sample(3)
    want = expected(x, y)
    run(x, y, out=x)
    np.testing.assert_array_equal(x, want)
    both = np.concatenate([x, y])
    want = expected(both[:3], both[2:5])
    run(both[:3], both[2:5], out=both[1:4])
    np.testing.assert_array_equal(both[1:4], want)


def test_out_of_another_shape_or_dtype_is_refused(affine: Path) -> None:
    run = aot_load(affine)
    x, y = sample(3)
    message = r"out: expected float32\[3, 4\], got float64\[3, 4\]"
    with pytest.raises(InputMismatchError, match=message):
        run(x, y, out=np.empty((3, 4)))
    read_only = np.empty((3, 4), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(InputMismatchError, match="read-only"):
        run(x, y, out=read_only)


def test_out_of_a_tree_takes_what_is_given_and_leaves_the_rest(state: Path) -> None:
    run = aot_load(state)
    data, counter, found, again = (
        np.arange(-1, 3),
        np.array(0),
        np.zeros(2, np.int64),
        np.zeros(2, np.int64),
    )
    out = dict.fromkeys(["half", "data", "note"]) | {
        "counter": counter,
        "found": found,
        "again": again,
    }
    result = run(data, "relu", k=0, note=None, out=out)
    assert result["counter"] is counter
    assert counter == 42
    assert (result["found"] is found, result["again"] is again) == (True, True)
    np.testing.assert_array_equal([found, again], [[1, 2], [1, 2]])
    assert (result["half"], result["note"], result["data"] is data) == (2, 0.5, True)
    with pytest.raises(InputMismatchError, match=r"out: expected int64\[2\], got int64\[3\]"):
        run(data, "relu", k=0, note=None, out={**out, "found": np.zeros(3, np.int64)})


# ---- refusals ----


def test_refusals_name_path_expected_and_got(affine: Path) -> None:
    run = aot_load(affine)
    x, y = sample(2)
    cases: list[tuple[tuple[object, ...], str]] = [
        ((x,), "missing args[1] (y)"),
        ((x, y, y), "expected 2 positional arguments, got 3"),
        ((x[:, :2].copy(), y), "args[0]: expected float32[batch, 4], got float32[2, 2]"),
        ((x.astype(np.float64), y), "args[0]: expected float32[batch, 4], got float64[2, 4]"),
        ((x, 1.5), "args[1]: expected float32[batch, 4], got float 1.5"),
        ((x, None), "args[1]: expected float32[batch, 4], got None"),
        (
            (x, y[:1]),
            "args[1]: expected float32[batch, 4] with batch = 2 (from args[0].shape[0]), "
            "got float32[1, 4]",
        ),
        ((x[:0], y[:0]), "args[0]: expected float32[batch, 4] with batch >= 1, got float32[0, 4]"),
    ]
    for args, message in cases:
        with pytest.raises(InputMismatchError) as refused:
            run(*args)
        assert message in str(refused.value)
        np.testing.assert_array_equal(run(x, y), expected(x, y))


def test_all_problems_are_reported_at_once(affine: Path) -> None:
    with pytest.raises(InputMismatchError) as refused:
        aot_load(affine)([1], "two")
    assert str(refused.value).count("\n") == 1


def test_unknown_keyword_arguments_are_listed(affine: Path) -> None:
    x, y = sample(2)
    with pytest.raises(InputMismatchError, match=r"unexpected kwargs\['mask'\]"):
        aot_load(affine)(x, y, mask=1)


def test_rejected_calls_leak_nothing(affine: Path) -> None:
    run = aot_load(affine)
    x, y = sample(64)
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs /proc")

    def refuse_often() -> None:
        for i in range(3000):
            with pytest.raises(InputMismatchError):
                run(x, y[: 1 + i % 63])

    refuse_often()
    gc.collect()
    before = int(statm.read_text().split()[1])
    refuse_often()
    gc.collect()
    assert int(statm.read_text().split()[1]) - before < 256


def test_unknown_devices_and_thread_counts_are_refused(affine: Path) -> None:
    with pytest.raises(DeviceError, match=r"expected cpu, cuda or cuda:<number>, got .tpu."):
        aot_load(affine, "tpu")
    with pytest.raises(ValueError, match="threads"):
        aot_load(affine, threads=0)


# ---- constants, buffers, numbers, shapes that depend on data ----


def test_constants_are_read_and_replaced_by_name(affine: Path) -> None:
    run = aot_load(affine)
    x, y = sample(2)
    np.testing.assert_array_equal(run.read_constant("layer.weight"), WEIGHT)
    run.replace_constants({"layer.weight": WEIGHT[::-1]})
    np.testing.assert_array_equal(run(x, y), 2 * x + y + WEIGHT[::-1])
    np.testing.assert_array_equal(aot_load(affine)(x, y), expected(x, y))
    for values, message in (
        ({"layer.weight": WEIGHT, "none": WEIGHT}, "no constant named 'none'"),
        ({"layer.weight": WEIGHT, "layer.packed": WEIGHT}, "packed"),
        ({"layer.weight": WEIGHT[:2]}, r"expected float32\[4\], got float32\[2\]"),
    ):
        with pytest.raises(ConstantError, match=message):
            run.replace_constants(values)
    np.testing.assert_array_equal(run.read_constant("layer.weight"), WEIGHT[::-1])


def test_constants_are_swapped_as_a_set_while_calls_run(affine: Path) -> None:
    run = aot_load(affine, threads=1)
    x = np.zeros((512, 4), np.float32)
    stop = threading.Event()
    wrong: list[np.ndarray] = []

    def call() -> None:
        while not stop.is_set():
            result = run(x, x)
            if not (result == result[0, 0]).all():
                wrong.append(result)

    run.replace_constants({"layer.weight": np.zeros(4, np.float32)})
    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for value in range(500):
        run.replace_constants({"layer.weight": np.full(4, value, np.float32)})
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_every_kind_of_result_comes_back(state: Path) -> None:
    run = aot_load(state)
    data = np.array([-5, 0, 3, 4])
    result = run(data, "relu", k=1, note=None)
    assert result["counter"] == 42
    assert result["counter"].shape == ()
    np.testing.assert_array_equal(result["found"], [1, 4, 5])
    assert result["again"] is result["found"]
    assert (type(result["half"]), result["half"]) == (int, 2)
    assert result["data"] is data
    np.testing.assert_array_equal(data, [-4, 1, 4, 5])
    assert result["note"] == 0.5
    assert result["found"].flags.writeable


def test_data_dependent_results_may_be_empty_and_outlive_the_program(state: Path) -> None:
    run = aot_load(state)
    empty = run(np.full(4, -9), "relu", k=0, note=None)["found"]
    assert empty.shape == (0,)
    kept = run(np.arange(1000), "relu", k=0, note=None)["found"]
    del run
    gc.collect()
    np.testing.assert_array_equal(kept, np.arange(1, 1000))


def test_mutated_inputs_are_written_through_any_layout(state: Path) -> None:
    run = aot_load(state)
    base = np.arange(8)
    run(base[::2], "relu", k=10, note=None)
    np.testing.assert_array_equal(base, [10, 1, 12, 3, 14, 5, 16, 7])
    swapped = np.arange(4).astype(">i8")
    run(swapped, "relu", k=10, note=None)
    np.testing.assert_array_equal(swapped, np.arange(10, 14))
    frozen = np.arange(4)
    frozen.flags.writeable = False
    with pytest.raises(InputMismatchError, match=r"args\[0\]: the program writes to this input"):
        run(frozen, "relu", k=10, note=None)


def test_buffers_live_in_the_instance(state: Path) -> None:
    run, other = aot_load(state), aot_load(state)
    data = np.zeros(2, np.int64)
    counts = [int(run(data, "relu", k=0, note=None)["counter"]) for _ in range(3)]
    assert counts == [42, 43, 44]
    assert other(data, "relu", k=0, note=None)["counter"] == 42
    assert run.fresh()(data, "relu", k=0, note=None)["counter"] == 42
    assert run.read_buffer("counter") == 44
    run.write_buffer("counter", np.array(7))
    assert run(data, "relu", k=0, note=None)["counter"] == 8
    run.reset_buffers()
    assert run(data, "relu", k=0, note=None)["counter"] == 42


def test_constants_and_numbers_among_the_arguments_are_checked(state: Path) -> None:
    run = aot_load(state)
    data = np.zeros(2, np.int64)
    with pytest.raises(InputMismatchError) as refused:
        run(data, "gelu", k=1.5, note=0)
    assert str(refused.value).splitlines() == [
        "args[1]: expected 'relu', as the program was exported, got str 'gelu'",
        "kwargs['k']: expected int, got float 1.5",
        "kwargs['note']: expected None, as the program was exported, got int 0",
    ]
    aot_load(state, check=False)(data, "gelu", k=1, note=0)


def test_guards_and_assertions_of_the_program_speak(state: Path) -> None:
    run = aot_load(state)
    with pytest.raises(InputMismatchError, match="expected k >= 0, got -1"):
        run(np.zeros(2, np.int64), "relu", k=-1, note=None)
    with pytest.raises(InputMismatchError, match=r"expected int64\[2\*half\], got int64\[3\]"):
        run(np.zeros(3, np.int64), "relu", k=1, note=None)
    with pytest.raises(ProgramError, match="assertion failed: k != 13"):
        run(np.zeros(2, np.int64), "relu", k=13, note=None)
    assert run(np.zeros(2, np.int64), "relu", k=1, note=None)["counter"] == 42


# ---- threads, processes, pickles ----


def call_in_child(run: Runner, seed: int) -> None:
    x, y = sample(4000, seed)
    np.testing.assert_array_equal(run(x, y), expected(x, y))


def test_sixteen_threads_share_one_runner(affine: Path) -> None:
    run = aot_load(affine, threads=4)
    failures: list[BaseException] = []

    def call(seed: int) -> None:
        try:
            for i in range(100):
                x, y = sample(1 + (seed * 37 + i) % 300, seed)
                np.testing.assert_array_equal(run(x, y), expected(x, y))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_buffers_count_every_call_of_many_threads(state: Path) -> None:
    run = aot_load(state)

    def call() -> None:
        for _ in range(200):
            run(np.zeros(2, np.int64), "relu", k=0, note=None)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run.read_buffer("counter") == 41 + 8 * 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_runner_works_in_a_forked_child_while_other_threads_run(affine: Path) -> None:
    run = aot_load(affine, threads=4)
    call_in_child(run, 0)
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            call_in_child(run, 1)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        for _ in range(5):
            child = multiprocessing.get_context("fork").Process(target=call_in_child, args=(run, 2))
            child.start()
            child.join(60)
            assert child.exitcode == 0
    finally:
        stop.set()
        busy.join()


def test_pickled_runner_loads_its_artefact_again(affine: Path) -> None:
    run = pickle.loads(pickle.dumps(aot_load(affine, threads=2)))
    assert run.threads == 2
    call_in_child(run, 0)


def test_runner_works_in_a_spawned_process(affine: Path) -> None:
    import subprocess

    code = (
        "import pickle, sys, numpy as np\n"
        "x = np.ones((2, 4), np.float32)\n"
        "print(pickle.load(sys.stdin.buffer)(x, x).sum())\n"
    )
    source = Path(castoff.__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(aot_load(affine)),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(source)},
        check=True,
    )
    assert float(done.stdout) == 2 * (12 + WEIGHT.sum())


def test_result_does_not_depend_on_the_number_of_threads(affine: Path) -> None:
    x, y = sample(5000)
    results = [aot_load(affine, threads=threads)(x, y).tobytes() for threads in (1, 2, 3, 8)]
    assert len(set(results)) == 1


def test_runner_shows_what_it_takes_and_gives(affine: Path) -> None:
    run = aot_load(affine)
    assert [str(spec) for spec in run.inputs] == ["float32[batch, 4]"] * 2
    assert [spec.path for spec in run.outputs] == ["result"]
    assert "args[0]: float32[batch, 4]" in repr(run)
    assert run.manifest.as_dict()["name"] == "affine"


def test_importing_and_loading_import_nothing_of_the_compiler(affine: Path) -> None:
    import subprocess

    code = (
        "import sys, castoff\n"
        "assert 'numpy' not in sys.modules, 'import castoff imported numpy'\n"
        f"castoff.aot_load({str(affine)!r})\n"
        "heavy = ('castoff.compiler', 'jinja2', 'cffi', 'ml_dtypes', 'torch')\n"
        "bad = [name for name in sys.modules if name.startswith(heavy)]\n"
        "assert not bad, bad\n"
    )
    source = Path(castoff.__file__).resolve().parent.parent
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(source)}, check=True
    )

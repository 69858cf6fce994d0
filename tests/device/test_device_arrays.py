"""Arrays that lie on the device are used there, on the caller's stream."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.runtime.device_array import DeviceArray
from castoff.runtime.dlpack import CPU, CUDA
from castoff.runtime.errors import ConstantError, DeviceError, InputMismatchError, ProgramError
from castoff.runtime.runner import Runner, aot_load
from tests.graphs import GraphBuilder, size

from .building import DeviceBuilds


@pytest.fixture(scope="module")
def artefact(device_builds: DeviceBuilds) -> str:
    """neg(x) * weight + y, with x and y float32[n, 8]."""
    b = GraphBuilder()
    n = size("n")
    x, y = b.input("x", n, 8), b.input("y", n, 8)
    weight = b.array(np.arange(8, dtype=np.float32), "weight")
    return str(
        device_builds.build(b.graph(b.apply("add", b.apply("mul", b.apply("neg", x), weight), y)))
    )


def expected(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -x * np.arange(8, dtype=np.float32) + y


def sample(count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    return tuple(rng.standard_normal((2, count, 8)).astype(np.float32))  # type: ignore[return-value]


@pytest.fixture
def on_device(artefact: str) -> Runner:
    return aot_load(artefact, "cuda", results="device")


def test_results_stay_on_the_device_and_are_read_from_there(on_device: Runner) -> None:
    x, y = sample()
    (result,) = on_device(x, y)
    assert isinstance(result, DeviceArray)
    assert (result.shape, result.dtype, result.device) == ((5, 8), "float32", "cuda:0")
    np.testing.assert_array_equal(result.numpy(), expected(x, y))
    np.testing.assert_array_equal(np.asarray(result), expected(x, y))


def test_results_of_one_program_are_arguments_of_the_next_without_a_copy(
    artefact: str, on_device: Runner
) -> None:
    x, y = sample()
    (there,) = on_device(x, y)
    strict = aot_load(artefact, "cuda", strict_device=True)
    (again,) = strict(there, there)
    assert isinstance(again, DeviceArray)
    first = expected(x, y)
    np.testing.assert_array_equal(again.numpy(), expected(first, first))


class Foreign:
    """An array of another library, which knows no more of castoff than DLPack."""

    def __init__(self, array: DeviceArray) -> None:
        self.array = array
        self.streams: list[object] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __dlpack__(self, *, stream: object = None) -> object:
        self.streams.append(stream)
        return self.array.__dlpack__(stream=stream)


@pytest.mark.parametrize("stream", [None, 2], ids=["no stream is said", "a stream"])
def test_arrays_of_any_library_are_taken_where_they_lie_and_told_the_stream(
    artefact: str, on_device: Runner, stream: int | None
) -> None:
    x, y = sample()
    (there,), (memory,) = on_device(x, y), on_device(y, x)
    foreign, target = Foreign(there), Foreign(memory)
    program = aot_load(artefact, "cuda", strict_device=True)  # copies nothing
    given = {} if stream is None else {"stream": stream}
    (result,) = program(foreign, foreign, out=(target,), **given)
    assert result is target
    asked = {*foreign.streams, *target.streams}
    assert asked == ({1} if stream is None else {stream})  # the legacy default stream
    first = expected(x, y)
    np.testing.assert_array_equal(memory.numpy(), expected(first, first))


def test_numpy_results_can_be_asked_for(artefact: str, on_device: Runner) -> None:
    x, y = sample()
    (there,) = on_device(x, y)
    (result,) = aot_load(artefact, "cuda", results="numpy")(there, y)
    np.testing.assert_array_equal(result, expected(expected(x, y), y))


def test_a_result_outlives_its_program_and_what_was_lent(on_device: Runner) -> None:
    x, y = sample()
    (there,) = on_device(x, y)
    capsule = there.__dlpack__(stream=None)
    other = there.__dlpack__(stream=2)
    values = there.numpy()
    del capsule
    gc.collect()
    np.testing.assert_array_equal(there.numpy(), values)
    del there, other
    gc.collect()


def test_results_go_where_out_lies(artefact: str, on_device: Runner) -> None:
    x, y = sample()
    (target,) = on_device(x, y)
    program = aot_load(artefact, "cuda")
    (given,) = program(y, x, out=(target,))
    assert given is target
    np.testing.assert_array_equal(target.numpy(), expected(y, x))
    with pytest.raises(InputMismatchError, match=r"out\[0\]: expected a writable float32\[3, 8\]"):
        program(*sample(3), out=(target,))


def test_calls_into_memory_of_the_device_and_of_the_host_share_no_plan(
    device_builds: DeviceBuilds,
) -> None:
    b = GraphBuilder()
    values = np.arange(4, dtype=np.float32)
    path = device_builds.build(b.graph(b.apply("neg", b.array(values, "values"))))
    (target,) = aot_load(path, "cuda", results="device")()
    program = aot_load(path, "cuda")
    (given,) = program(out=(target,))
    assert given is target
    np.testing.assert_array_equal(program()[0], -values)
    plans = [plan for kept in program._plans.values() for plan in kept]
    assert sorted(plan.outputs[0].device.device_type for plan in plans) == [CPU, CUDA]


def test_host_arrays_are_refused_where_that_is_asked_for(artefact: str, on_device: Runner) -> None:
    strict = aot_load(artefact, "cuda", strict_device=True)
    x, y = sample()
    with pytest.raises(
        InputMismatchError, match=r"args\[0\]: expected a tensor on cuda:0, got one on the CPU"
    ):
        strict(x, y)


def test_wrong_device_arrays_are_described(on_device: Runner) -> None:
    x, y = sample(2)
    (there,) = on_device(x, y)
    with pytest.raises(
        InputMismatchError, match=r"n = 2 \(from args\[0\].shape\[0\]\), got float32\[5, 8\]"
    ):
        on_device(there, sample(5)[0])


def test_streams_are_named_by_address_or_object(on_device: Runner) -> None:
    x, y = sample()

    class Stream:
        cuda_stream = 2

    for stream in (1, 2, Stream()):
        (result,) = on_device(x, y, stream=stream)
        np.testing.assert_array_equal(result.numpy(), expected(x, y))
    with pytest.raises(DeviceError, match="expected a CUDA stream"):
        on_device(x, y, stream="fast")


def test_threads_share_a_program(on_device: Runner) -> None:
    wrong: list[str] = []

    def call(count: int) -> None:
        x, y = sample(count)
        for _ in range(5):
            (result,) = on_device(x, y, stream=2)
            if not np.array_equal(result.numpy(), expected(x, y)):
                wrong.append(f"{count} rows")

    threads = [threading.Thread(target=call, args=(count,)) for count in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("graphs", [False, True], ids=["launched", "recorded"])
def test_recorded_runs_answer_as_launched_ones_do(artefact: str, graphs: bool) -> None:
    program = aot_load(artefact, "cuda", cuda_graphs=graphs)
    for count in (3, 5, 3):
        for _ in range(4):
            x, y = sample(count)
            np.testing.assert_array_equal(program(x, y)[0], expected(x, y))
    program.replace_constants({"weight": np.ones(8, np.float32)})
    for _ in range(3):
        np.testing.assert_array_equal(program(x, y)[0], -x + y)


def test_while_one_thread_records_others_use_the_legacy_stream(
    device_builds: DeviceBuilds, on_device: Runner
) -> None:
    b = GraphBuilder()
    sums = b.input("x", size("n"), 8, dtype=DType.INT64)
    for _ in range(40):  # launches, so that recording them takes a while
        sums = b.call("aten.cumsum.default", sums, 1)
    recorded = device_builds.load(b.graph(sums), cuda_graphs=True)
    failures: list[Exception] = []
    is_over = threading.Event()

    def call() -> None:
        while not is_over.is_set():
            try:
                on_device(*sample(), stream=1)
            except DeviceError as error:
                failures.append(error)
                return

    thread = threading.Thread(target=call)
    thread.start()
    for count in range(1, 10):
        x = np.arange(8 * count).reshape(count, 8)
        wanted = x
        for _ in range(40):
            wanted = wanted.cumsum(1)
        for _ in range(3):
            np.testing.assert_array_equal(recorded(x)[0], wanted)
    is_over.set()
    thread.join()
    assert not failures


def test_an_index_out_of_range_is_told_when_it_is_known(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    table, index = b.input("table", 4, 2), b.input("index", 3, dtype=DType.INT64)
    graph = b.graph(b.call("aten.embedding.default", table, index))
    program = device_builds.load(graph, results="device")
    given = np.ones((4, 2), np.float32)
    program(given, np.array([0, 7, 1]))
    with pytest.raises(ProgramError, match="index out of range"):
        program.synchronize()  # type: ignore[attr-defined]
    program.synchronize()  # type: ignore[attr-defined]
    (result,) = program(given, np.array([0, 3, 1]))
    np.testing.assert_array_equal(result.numpy(), given[[0, 3, 1]])


def test_an_index_out_of_range_is_told_by_the_array_that_is_read(
    device_builds: DeviceBuilds,
) -> None:
    b = GraphBuilder()
    table, index = b.input("table", 4, 2), b.input("index", 3, dtype=DType.INT64)
    graph = b.graph(b.call("aten.embedding.default", table, index))
    program = device_builds.load(graph, results="device")
    given = np.ones((4, 2), np.float32)
    (wrong,) = program(given, np.array([0, 7, 1]))
    with pytest.raises(ProgramError, match="index out of range"):
        wrong.numpy()
    (right,) = program(given, np.array([0, 3, 1]))
    np.testing.assert_array_equal(right.numpy(), given[[0, 3, 1]])


def test_results_that_are_one_output_go_to_one_place(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    x = np.arange(6, dtype=np.float32)
    path = device_builds.build(b.graph(b.apply("neg", b.input("x", 6))), results=(0, 0))
    program = aot_load(path, "cuda")
    assert len(program.manifest.outputs) == 1
    first, _ = aot_load(path, "cuda", results="device")(x)
    other, _ = aot_load(path, "cuda", results="device")(x)
    again = x + 1
    assert program(again, out=(first, first)) == (first, first)
    np.testing.assert_array_equal(first.numpy(), -again)
    assert program(x, out=(first, None))[0] is first
    np.testing.assert_array_equal(np.asarray(program(x, out=(None, first))[0]), -x)
    for out in ((first, other), (first, np.empty_like(x)), (np.empty_like(x), first)):
        with pytest.raises(InputMismatchError, match=r"out\[\d\] and out\[\d\]: one output"):
            program(x, out=out)
    np.testing.assert_array_equal(first.numpy(), -x)


def test_constants_and_buffers_are_set_from_memory_of_the_device(
    device_builds: DeviceBuilds, artefact: str, on_device: Runner
) -> None:
    b = GraphBuilder()
    total = b.buffer("total", np.zeros((2, 8), np.float32))
    weight = b.array(np.ones((2, 8), np.float32), "weight")
    updated = b.apply("add", total, b.apply("mul", b.input("x", 2, 8), weight))
    program = device_builds.load(b.graph(updated, mutations=[(total, updated)]))
    x, y = sample(2)
    (there,) = on_device(x, y)
    program.write_buffer("total", there)
    np.testing.assert_array_equal(program.read_buffer("total"), expected(x, y))
    program.replace_constants({"weight": there})
    np.testing.assert_array_equal(program.read_constant("weight"), expected(x, y))
    np.testing.assert_array_equal(program(x)[0], expected(x, y) + x * expected(x, y))
    (longer,) = on_device(*sample(3))
    with pytest.raises(
        ConstantError, match=r"total: expected float32\[2, 8\], got float32\[3, 8\]"
    ):
        program.write_buffer("total", longer)
    with pytest.raises(ConstantError, match=r"weight: expected float32\[2, 8\]"):
        program.replace_constants({"weight": longer})


def test_shapes_that_depend_on_data_are_known_after_the_call(device_builds: DeviceBuilds) -> None:
    b = GraphBuilder()
    graph = b.graph(b.call("aten.nonzero.default", b.input("x", 6)))
    path = device_builds.build(graph)
    x = np.array([0, 1, 0, 2, 3, 0], np.float32)
    for results in ("numpy", "device"):
        (found,) = aot_load(path, "cuda", results=results)(x)
        np.testing.assert_array_equal(np.asarray(found), [[1], [3], [4]])

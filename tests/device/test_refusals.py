"""What a machine or a caller cannot give is refused, by a typed error that names both sides."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from castoff.compiler.ir.dtypes import DType
from castoff.runtime.errors import DeviceError
from castoff.runtime.runner import aot_load
from tests.emulation.home import default_home
from tests.graphs import GraphBuilder, build, size

ROOT = Path(__file__).resolve().parents[2]

_SCRIPT = """
import os, sys
import numpy as np
import castoff
path = sys.argv[1]
x = np.ones((4, 8), np.float32)
def load(device="cuda", **options):
    return castoff.aot_load(path, device, **options)
try:
    {body}
except Exception as error:
    print(type(error).__name__ + ": " + str(error))
"""


_DRIVER = f"""
import ctypes
driver = ctypes.CDLL({str(default_home() / "lib64" / "libcuda.so.1")!r})
def free_bytes():
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    driver.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
    return free.value
"""
"""Asks the emulated driver, which a process has once, beside what the program does with it."""


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x * 2 + weight, with x float32[4, 8]; always emulated, where machines can be chosen."""
    options = {"device": "cuda", "cuda_home": str(default_home()), "cuda_architectures": (90,)}
    b = GraphBuilder()
    x = b.input("x", 4, 8)
    weight = b.array(np.ones((4, 8), np.float32), "weight")
    graph = b.graph(b.apply("add", b.apply("add", x, x), weight))
    return build(graph, tmp_path_factory.mktemp("refusals"), **options)


def outcome(artefact: Path, body: str, **settings: str) -> str:
    """What a process prints that does `body`, with settings of the emulation."""
    environment = {name: value for name, value in os.environ.items() if "EMULATION" not in name}
    environment.update({f"CASTOFF_EMULATION_{name}": value for name, value in settings.items()})
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(body=body.replace("\n", "\n    ")), str(artefact)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"DRIVER_VERSION": "0"}, "there is no NVIDIA driver here"),
        (
            {"DRIVER_VERSION": "12040"},
            "the NVIDIA driver is too old: this artefact needs one for CUDA 13.0, the driver is for 12.4",
        ),
        ({"DEVICES": "0"}, "there is no GPU here"),
        (
            {"ARCH": "75"},
            "cuda:0 (Emulated GPU sm_75) is sm_75: compile it for that one too (option cuda_architectures)",
        ),
        ({"ARCH": "80"}, "this artefact was built for sm_90, but cuda:0 (Emulated GPU sm_80)"),
    ],
    ids=["no driver", "an old driver", "no GPU", "an old GPU", "an older generation"],
)
def test_machines_that_cannot_run_it(
    artefact: Path, settings: dict[str, str], expected: str
) -> None:
    said = outcome(artefact, "load()", **settings)
    assert said.startswith("DeviceError: ")
    assert expected in said


def test_newer_gpus_run_the_ptx(artefact: Path) -> None:
    assert outcome(artefact, "print(load()(x)[0].sum())", ARCH="120") == "96.0"


def test_gpus_that_are_not_there_are_refused(artefact: Path) -> None:
    said = outcome(artefact, 'load("cuda:2")', DEVICES="2")
    assert said.endswith("cuda:2: expected a GPU below 2, as many as there are here")


def test_each_gpu_has_its_own_arrays(artefact: Path) -> None:
    body = """
there = load("cuda:1", results="device")
other = load("cuda:0")
(first,) = there(x)
print(there(first)[0].numpy().sum(), first.device)
other(first)"""
    said = outcome(artefact, body, DEVICES="2")
    assert "224.0 cuda:1" in said
    assert "InputMismatchError: args[0]: expected a tensor on cuda:0, got one on cuda:1" in said


def test_memory_that_is_not_there_is_named(artefact: Path) -> None:
    said = outcome(artefact, "load()", MEMORY="100")
    assert said.startswith("MemoryError: ")
    assert said.endswith(
        "out of memory on cuda:0: 128 bytes for constants; "
        "arenas take 0 bytes, constants 128, 100 of 100 bytes are free"
    )


def test_arrays_of_another_gpu_are_refused_wherever_they_are_given(artefact: Path) -> None:
    body = """
(foreign,) = load("cuda:1", results="device")(x)
program = load("cuda:0")
for give in (
    lambda: program(foreign),
    lambda: program(x, out=(foreign,)),
    lambda: program.replace_constants({"weight": foreign}),
):
    try:
        give()
    except castoff.CastoffError as error:
        print(f"{type(error).__name__}: {error}")
print(program(x)[0].sum())"""
    assert outcome(artefact, body, DEVICES="2").splitlines() == [
        "InputMismatchError: args[0]: expected a tensor on cuda:0, got one on cuda:1",
        "InputMismatchError: output result[0]: expected a tensor on cuda:0, got one on cuda:1",
        "ConstantError: constant weight: expected a tensor on cuda:0, got one on cuda:1",
        "96.0",
    ]


@pytest.mark.parametrize(
    ("result", "asked", "arenas"),
    [
        ("sums", "20480000 bytes for an arena", 20480000),
        ("table", r"10240000 bytes for result\[0\], float32\[40000, 64\]", 0),
    ],
)
def test_memory_that_a_run_lacks_is_named_with_what_arenas_and_constants_take(
    tmp_path: Path, result: str, asked: str, arenas: int
) -> None:
    b = GraphBuilder()
    x, weight = b.input("x", size("n", 0, 1 << 20), 1), b.array(np.ones(64, np.float32), "weight")
    table = b.apply("exp", b.apply("add", x, weight))
    sums = b.reduce("sum", b.call("aten.cumsum.default", table, 0), [0])
    options = {"device": "cuda", "cuda_home": str(default_home()), "cuda_architectures": (90,)}
    path = build(b.graph(sums if result == "sums" else table), tmp_path, **options)
    body = """
program = load(results="device")
for n in (2, 40000, 2):
    try:
        print(program(np.ones((n, 1), np.float32))[0].shape)
    except MemoryError as error:
        print(error)"""
    first, said, last = outcome(path, body, MEMORY=str(1 << 20)).splitlines()
    assert first == last == ("(64,)" if result == "sums" else "(2, 64)")
    found = re.fullmatch(
        rf"out of memory on cuda:0: {asked}; "
        rf"arenas take {arenas} bytes, constants 256, (\d+) of 1048576 bytes are free",
        said,
    )
    assert found, said
    assert 0 < int(found[1]) < 1 << 20


def test_a_program_on_another_gpu_makes_no_context_on_the_first(artefact: Path) -> None:
    body = f"""{_DRIVER}
program = load("cuda:1", results="device")
(there,) = program(x)
print(there.numpy().sum(), there.__dlpack__(stream=None) is not None)
program.replace_constants({{"weight": x}})
there = None
del program
current = ctypes.c_int(-1)
driver.cudaGetDevice(ctypes.byref(current))
print(current.value, [driver.castoff_emulation_has_context(i) for i in range(2)])
free_bytes()  # asks on the current one
print([driver.castoff_emulation_has_context(i) for i in range(2)])"""
    answer, contexts, after = outcome(artefact, body, DEVICES="2").splitlines()
    assert answer == "96.0 True"
    assert contexts == "0 [0, 1]"
    assert after == "[1, 1]"


def test_devices_without_memory_pools_give_results_from_plain_memory(artefact: Path) -> None:
    body = f"""{_DRIVER}
program = load(results="device")
before = None
for _ in range(3):
    (there,) = program(x)
    (other,) = program(there)
    lent = other.__dlpack__(stream=None)
    print(there.numpy().sum(), other.numpy().sum())
    there = other = lent = None
    before = before or free_bytes()
    assert free_bytes() == before"""
    assert outcome(artefact, body, POOLS="0").splitlines() == ["96.0 224.0"] * 3


@pytest.mark.parametrize(
    ("consumer", "flags", "kept"),
    [("1", 1, 0), ("one.value", 1, 0), ("-1", 1, 0), ("2", 1, 0), ("1", 0, 128), ("recorded.value", 1, 128)],
    ids=["legacy", "own", "not told", "thread", "legacy waits for it", "recorded itself"],
)  # fmt: skip
def test_arrays_are_let_go_while_another_thread_records(
    artefact: Path, consumer: str, flags: int, kept: int
) -> None:
    """What is recorded does not notice; the memory is back then, or with the next array."""
    body = f"""{_DRIVER}
def stream(flags):
    made = ctypes.c_void_p()
    assert driver.cudaStreamCreateWithFlags(ctypes.byref(made), flags) == 0
    return made
one, recorded = stream(1), stream({flags})
program = load(results="device")
program(x)
before = free_bytes()
(there,) = program(x)
lent = [there.__dlpack__(stream=i) for i in (None, {consumer}, one.value)]
assert driver.cudaStreamBeginCapture(recorded, 0) == 0
there = lent = None
during = free_bytes()
graph = ctypes.c_void_p()
print(driver.cudaStreamEndCapture(recorded, ctypes.byref(graph)), before - during)
program(x)
print(before - free_bytes())"""
    assert outcome(artefact, body).splitlines() == [f"0 {kept}", "0"]


@pytest.mark.parametrize("streams", ["eager", "deferred"])
def test_arrays_of_the_host_go_through_pinned_memory_of_the_program(
    artefact: Path, streams: str
) -> None:
    """The call returns before the device has read them, and the caller may write to them at once."""
    body = f"""{_DRIVER}
def copies():
    pinned, pageable = ctypes.c_int(), ctypes.c_int()
    driver.castoff_emulation_copies(ctypes.byref(pinned), ctypes.byref(pageable))
    return np.array([pinned.value, pageable.value])
program = load(results="device")
before = copies()
results = []
for n in range(5):
    given = np.full((4, 8), n, np.float32) if n % 2 else np.full((8, 4), n, np.float32).T
    results.append(program(given)[0])
    given[:] = 77
print([float(result.numpy().mean()) for result in results], *(copies() - before))"""
    said = outcome(artefact, body, STREAMS=streams)
    assert said == "[1.0, 3.0, 5.0, 7.0, 9.0] 5 0"


def test_programs_share_the_constants_of_a_gpu(tmp_path: Path) -> None:
    b = GraphBuilder()
    weight = b.array(np.ones((1 << 18,), np.float32), "weight")
    graph = b.graph(b.reduce("sum", b.apply("add", b.input("x", 1), weight), [0]))
    options = {"device": "cuda", "cuda_home": str(default_home()), "cuda_architectures": (90,)}
    path = build(graph, tmp_path, **options)
    body = """
one = np.ones(1, np.float32)
programs = [load() for _ in range(5)]
print([float(program(one)[0]) for program in programs])
del programs
print(float(load()(one)[0]))"""
    said = outcome(path, body, MEMORY=str(3 << 19)).splitlines()
    assert said == ["[524288.0, 524288.0, 524288.0, 524288.0, 524288.0]", "524288.0"]


def test_a_failed_device_is_reported_once_and_then_refused(artefact: Path) -> None:
    body = """
program = load()
for _ in range(3):
    try:
        print(program(x)[0].sum())
    except castoff.DeviceError as error:
        print(error)"""
    first, second, third = outcome(artefact, body, FAIL="2").splitlines()
    assert first == "96.0"
    assert "cudaError" in second
    assert "cannot be used any more, only a new process can recover" not in second
    assert third.startswith("cuda:0 cannot be used any more, only a new process can recover")


def test_a_stream_of_another_device_is_refused(artefact: Path) -> None:
    body = f"""{_DRIVER}
program = load("cuda:0", results="device")
stream = ctypes.c_void_p()
driver.cudaSetDevice(1)
driver.cudaStreamCreate(ctypes.byref(stream))
driver.cudaSetDevice(0)
try:
    program(x, stream=stream.value)
except castoff.InputMismatchError as error:
    print(error)
print(load("cuda:1", results="device")(x, stream=stream.value)[0].numpy().sum())"""
    refused, answer = outcome(artefact, body, DEVICES="2").splitlines()
    assert refused == "stream: expected one of cuda:0, got one of cuda:1"
    assert answer == "96.0"


@pytest.mark.parametrize("streams", ["eager", "deferred"])
def test_a_run_whose_end_cannot_be_recorded_is_refused_and_the_next_one_runs(
    artefact: Path, streams: str
) -> None:
    body = """
program = load(results="device")
for _ in range(3):
    try:
        print(program(x)[0].numpy().sum())
    except castoff.DeviceError as error:
        print(error)"""
    first, second, third = outcome(artefact, body, FAIL_EVENT="2", STREAMS=streams).splitlines()
    assert (first, third) == ("96.0", "96.0")
    assert second.startswith("cuda:0: an event at the end of a run: ")


def test_a_run_that_cannot_be_recorded_needs_no_second_scratch(tmp_path: Path) -> None:
    b = GraphBuilder()
    count = 1 << 14
    x, where = b.input("x", 8), b.input("where", count, dtype=DType.INT64)
    ones = b.array(np.ones(count, np.float32))
    sums = b.call("aten.index_add.default", x, 0, where, ones)
    options = {"device": "cuda", "cuda_home": str(default_home()), "cuda_architectures": (90,)}
    found = b.call("aten.nonzero.default", sums)  # how many, the host has to know
    path = build(b.graph(b.reduce("sum", found, [0])), tmp_path, **options)
    left = []
    for graphs in (False, True):
        body = f"""{_DRIVER}
program = load(cuda_graphs={graphs})
before = free_bytes()
for _ in range(4):
    (total,) = program(np.zeros(8, np.float32), np.arange({count}) % 3)
print(total.item(), before - free_bytes())"""
        left.append(outcome(path, body))
    assert left[0].startswith("3 ")
    assert int(left[0].split()[-1]) > 4 * 8 * count
    assert left[0] == left[1]


def test_recorded_runs_are_kept_up_to_a_number(tmp_path: Path) -> None:
    b = GraphBuilder()
    graph = b.graph(b.apply("neg", b.input("x", size("n", 1, 100))))
    options = {"device": "cuda", "cuda_home": str(default_home()), "cuda_architectures": (90,)}
    body = f"""{_DRIVER}
counts = []
program = load(cuda_graphs=True)
for n in list(range(1, 41)) + [40, 1]:
    one = np.full(n, 3, np.float32)
    for _ in range(4):
        assert (program(one)[0] == -3).all()
    counts.append(driver.castoff_emulation_graph_count())
del program
print(max(counts), counts[-1], driver.castoff_emulation_graph_count())"""
    most, last, left = map(int, outcome(build(graph, tmp_path, **options), body).split())
    assert 2 < most <= 32
    assert 2 < last <= 32
    assert left == 0


def test_a_forked_child_is_told_to_load_again(artefact: Path) -> None:
    body = """
program = load()
program(x)
if os.fork() == 0:
    try:
        program(x)
    except castoff.DeviceError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
print(program(x)[0].sum())"""
    child, parent = outcome(artefact, body).splitlines()
    assert "CUDA does not survive fork()" in child
    assert parent == "96.0"


def test_artefacts_run_on_what_they_were_compiled_for(artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="compiled for cuda, not for cpu"):
        aot_load(artefact)
    b = GraphBuilder()
    on_cpu = build(b.graph(b.apply("neg", b.input("x", 2))), tmp_path)
    with pytest.raises(DeviceError, match="compiled for cpu, not for cuda:1"):
        aot_load(on_cpu, "cuda:1")
    with pytest.raises(DeviceError, match="expected cpu, cuda or cuda:<number>"):
        aot_load(artefact, "gpu")

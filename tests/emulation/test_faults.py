"""Programs that break a rule of CUDA fail here, with a sentence that says which."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from .conftest import PROGRAMS, Emulation

SENTENCES = {
    "divergent_barrier": r"kernel divergent_barrier, block \(0, 0, 0\): divergent __syncthreads: "
    r"20 of 64 threads wait, 44 have returned",
    "missing_lanes": r"waits in __shfl_sync with mask 0xffffffff for lanes that do not come",
    "foreign_mask": r"lane \d+ calls __shfl_xor_sync with mask 0x0000ffff, of which it is no part",
    "lanes_apart": r"store_matrix_sync: lanes of one warp have different fragments",
    "misaligned": r"kernel misaligned: misaligned access: 0x\w+4 is no multiple of 16 bytes, .*faults\.cu:\d+",
    "false_promise": r"0x\w+4 is promised to be a multiple of 16 bytes",
    "host_pointer": r"kernel fill, argument 0: expected device memory, got host pointer 0x",
    "used_after_free": r"kernel fill, argument 0: expected device memory, got host pointer 0x",
    "large_block": r"a block of \(64, 32, 1\) threads, of 1 to 1024 in all",
    "empty_grid": r"a grid of \(0, 1, 1\) blocks, of 1 to",
    "large_grid": r"a grid of \(1, 70000, 1\) blocks",
    "large_dynamic": r"60000 bytes of dynamic shared memory, of at most 49152",
    "large_both": r"8192 bytes of static and 232448 of dynamic shared memory, of at most 232448",
}


@pytest.mark.parametrize("rule", SENTENCES)
def test_a_broken_rule_ends_the_process_with_a_sentence(emulation: Emulation, rule: str) -> None:
    done = emulation.run("faults/faults", rule)
    assert re.search(SENTENCES[rule], done.stderr), done.stderr
    assert done.returncode == -signal.SIGABRT


@pytest.mark.parametrize("rule", SENTENCES)
def test_a_broken_rule_is_an_error_of_cuda_where_that_is_asked_for(
    emulation: Emulation, rule: str
) -> None:
    done = emulation.run("faults/faults", rule, settings={"CASTOFF_EMULATION_FAULT": "error"})
    assert re.search(SENTENCES[rule], done.stderr), done.stderr
    assert done.returncode == 1


def test_the_last_sentence_goes_where_the_runner_of_tests_listens_too(
    emulation: Emulation, tmp_path: Path
) -> None:
    program, heard = emulation.build("faults/faults"), tmp_path / "heard"
    script = 'CASTOFF_EMULATION_STDERR=$$:3 exec "$0" large_block 3> "$1" 2> /dev/null'
    environment = {"LD_LIBRARY_PATH": str(emulation.home / "lib64")}
    subprocess.run(["sh", "-c", script, program, heard], env=environment, check=False)
    assert re.search(SENTENCES["large_block"], heard.read_text())


def test_host_code_that_touches_device_memory_crashes(emulation: Emulation) -> None:
    done = emulation.run("faults/faults", "host_access")
    assert "host code touched device memory" in done.stderr
    assert done.returncode == -signal.SIGSEGV


@pytest.mark.parametrize("rule", ["copy_direction", "copy_beyond"])
def test_a_copy_that_leaves_its_memory_is_refused(emulation: Emulation, rule: str) -> None:
    done = emulation.run("faults/faults", rule)
    assert "invalid argument" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("rule", ["unset_shared", "unset_memory"])
def test_fresh_memory_is_not_zero(emulation: Emulation, rule: str) -> None:
    assert emulation.run("faults/faults", rule).returncode == 1


def test_a_missing_barrier_shows_in_some_order(emulation: Emulation) -> None:
    codes = {
        order: emulation.run(
            "faults/faults", "race", settings={"CASTOFF_EMULATION_ORDER": order}
        ).returncode
        for order in ("forward", "reverse", "random:1")
    }
    assert 1 in codes.values()


def test_shared_memory_beyond_48_kb_can_be_asked_for(emulation: Emulation) -> None:
    done = emulation.run("faults/faults", "raised_dynamic")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_order_is_refused(emulation: Emulation) -> None:
    done = emulation.run("faults/faults", "race", settings={"CASTOFF_EMULATION_ORDER": "sideways"})
    assert "expected forward, reverse or random:<seed>, got sideways" in done.stderr


@pytest.mark.nvcc
def test_nvcc_accepts_the_programs_that_break_rules(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    source = str(PROGRAMS / "faults" / "faults.cu")
    command = [nvcc, "-arch=sm_90", "-std=c++20", "-c", source, "-o", str(tmp_path / "faults.o")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr

"""The operators of CONTRIBUTING.md: one file each, registered, compiled from a `.pt2`, run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import importlib.util, pathlib, sys
import numpy as np
import castoff
from castoff.compiler import ops
from castoff.compiler.ops.samples import all_samples
from tests.exported import pt2_files
from tests.ops.sampling import difference, reference_results

folder = pathlib.Path(sys.argv[1])
ops.load_families()
name = "castoff.compiler.ops.smooth"  # as if the file were among its kind
spec = importlib.util.spec_from_file_location(name, folder / "smooth.py")
module = sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

samples = all_samples()
counts = [len(samples[f"smooth.{name}.default"]) for name in ("ramp", "energy")]
assert counts == [4, 2], counts
for name in ("ramp", "energy"):
    for sample in samples[f"smooth.{name}.default"]:
        reference_results(sample)

x = {"as_tensor": {"name": "x"}}
record = pt2_files.program()
graph = pt2_files.graph_of(record)
graph["tensor_values"] = {
    "p_w": pt2_files.tensor_meta([2]), "x": pt2_files.tensor_meta([5, 7]),
    "ramp": pt2_files.tensor_meta([5, 7]), "energy": pt2_files.tensor_meta([7]),
}
graph["nodes"] = [
    pt2_files.node("torch.ops.smooth.ramp.default", {"self": x}, "ramp"),
    pt2_files.node(
        "torch.ops.smooth.energy.default",
        {"self": {"as_tensor": {"name": "ramp"}}, "dim": {"as_int": 0}},
        "energy",
    ),
]
graph["outputs"] = [{"as_tensor": {"name": "energy"}}]
signature = record["graph_module"]["signature"]
signature["output_specs"] = [{"user_output": {"arg": {"as_tensor": {"name": "energy"}}}}]
call = record["graph_module"]["module_call_graph"][0]["signature"]
leaf = {"type": None, "context": None, "children_spec": []}
import json
kind = lambda name, context, children: {
    "type": f"builtins.{name}", "context": context, "children_spec": children
}
call["in_spec"] = json.dumps([1, kind("tuple", "null", [
    kind("tuple", "null", [leaf]), kind("dict", "[]", [])])])
call["out_spec"] = json.dumps([1, leaf])
path = folder / "model.pt2"
path.write_bytes(pt2_files.zipped(pt2_files.entries(record)))

run = castoff.aot_load(castoff.aot_compile(str(path), options={"target_cpu": "x86-64-v3"}))
x = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
wanted = np.square((x + np.sqrt(x * x + 1)) / 2).sum(0)
np.testing.assert_allclose(run(x), wanted, rtol=1e-5)
print("equal")
"""


def recipe() -> str:
    """The module shown in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    modules = re.findall(r"^```python\n(\"\"\"Smooth .*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(modules) == 1, "CONTRIBUTING.md shows one family module"
    return str(modules[0])


def test_operators_of_the_recipe_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "smooth.py").write_text(recipe(), encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    finished = subprocess.run(
        [sys.executable, str(tmp_path / "program.py"), str(tmp_path)],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT / "src"), str(ROOT)])),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "equal\n"


def test_module_of_the_recipe_is_in_style(tmp_path: Path) -> None:
    file = tmp_path / "smooth.py"
    file.write_text(recipe(), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--config",
        str(ROOT / "pyproject.toml"),
        str(file),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr

"""aot_load() and the callable it gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import abi
from ._abi_cdef import ffi
from .callspec import CallSpec, flatten_tree
from .device import check_device, parse_device
from .diagnose import equals_constant, find_problems, is_number
from .direct_call import DirectCall, make_direct_call
from .errors import (
    ArtefactError,
    DeviceError,
    InputMismatchError,
    PackageError,
    ProgramError,
    UnsupportedCpuError,
)
from .instance import Instance, last_error
from .library import CData, Library, is_archive, open_library
from .load_options import LoadOptions
from .manifest import Manifest, TensorSpec
from .plan import Key, Plan
from .results import Receiver, Target, find_targets
from .tensors import (
    Array,
    Give,
    as_array,
    as_storage,
    giver,
    is_extended,
    matches,
    storage_dtype,
)

# Plans are small; a program called with ever new shapes must not keep one for each.
_MAX_PLANS = 64

_from_buffer = ffi.from_buffer


def aot_load(
    path: str | os.PathLike[str],
    device: str = "cpu",
    *,
    method: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    artefact: str | None = None,
    threads: int | None = None,
    check: bool = True,
    strict_device: bool = False,
    cuda_graphs: bool = False,
    results: str = "as inputs",
) -> Runner:
    """Loads an artefact and gives the program in it as a callable.

    path: a shared library, or a deployment archive (`castoff.package`), of which the artefact for
        this device and machine is taken.
    method, shapes: which one of an archive, by the method it was packaged for and by sizes of
        inputs ({"x": (8, 3, 224, 224)}), as far as that is needed to tell; artefact: by its name.
    threads: how many threads one call may use; None: OMP_NUM_THREADS, else the processors this
        process may use.
    check: whether constants among the arguments (numbers, strings, None) must be those the program
        was exported with. Tensors are always checked.

    strict_device: refuse arrays that do not lie on the device, instead of copying them there.
    cuda_graphs: record what a call launches as a CUDA graph, once for each shape and set of
        addresses that comes again, and replay it. Programs that wait for the device are run as without: those
        with outputs whose sizes depend on data, and those that read a number to decide what comes next, or
        compute a step on the host (the factorisations of linear algebra, Fourier transforms).
    results: "as inputs" (arrays of the kind and place that the arguments have), "device" (objects
        with `__dlpack__` over memory of the device) or "numpy".

    Raises ArtefactError where the file cannot run here, DeviceError for another device and for GPUs and
    drivers that do not fit, ProgramFormatError for a damaged archive, PackageError where it leaves the
    choice open.
    """
    options = LoadOptions(threads, check, artefact, strict_device, cuda_graphs, results)
    if artefact is None:
        for name in _find_artefacts(path, device, method, shapes):
            try:
                return make_runner(path, device, options._replace(artefact=name))
            except (UnsupportedCpuError, DeviceError) as error:  # others may need less
                refusal = error
        raise refusal
    return make_runner(path, device, options)


def make_runner(path: str | os.PathLike[str], device: str, options: LoadOptions) -> Runner:
    """A program of one artefact, for the kind of device it was compiled for."""
    if parse_device(device).is_cpu:
        return Runner(path, device, options)
    from .device_runner import DeviceRunner  # programs for CPUs need none of it

    return DeviceRunner(path, device, options)


def _find_artefacts(
    path: str | os.PathLike[str],
    device: str,
    method: str | None,
    shapes: Mapping[str, Sequence[int]] | None,
) -> Sequence[str | None]:
    """Names of the artefacts of an archive to try in turn; None for a file that is an artefact."""
    if is_archive(path):
        from .package_load import find_artefacts  # lone artefacts need none of it

        return find_artefacts(path, device, method, shapes)
    if method is not None or shapes is not None:
        raise PackageError(f"{os.fspath(path)} is no archive, so method= and shapes= mean nothing")
    return (None,)


class Runner(Instance):
    """A loaded program with its own mutable buffers. Any number of threads may call it at once.

    `out=`, unless the program has an argument of that name, takes arrays to write the results to,
    in a tree like the result's.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        device: str = "cpu",
        options: LoadOptions | None = None,
    ) -> None:
        options = (options or LoadOptions()).checked()
        library = _open_library(path, options.artefact)
        super().__init__(library, check_device(device, library.manifest.device), options)
        self._options = options
        self._plans: dict[Key, list[Plan]] = {}
        self._prepare(library.manifest, options.check)

    def _prepare(self, manifest: Manifest, check: bool) -> None:
        """What every call would otherwise find out again."""
        self._spec = CallSpec(
            manifest.in_spec,
            manifest.out_spec,
            manifest.forward_arg_names,
            manifest.namedtuple_fields,
        )
        if len(self._spec.argument_paths) != len(manifest.arguments) or len(
            self._spec.result_paths
        ) != len(manifest.results):
            raise ArtefactError(
                f"{self.path} is damaged: its call spec does not fit its arguments and results"
            )
        self._run: Callable[[CData, CData], int] = self._api.run
        self._input_leaves = {
            argument.index: position
            for position, argument in enumerate(manifest.arguments)
            if argument.kind == "input"
        }
        self._constant_leaves = [
            (position, argument.value)
            for position, argument in enumerate(manifest.arguments)
            if argument.kind == "constant" and check
        ]
        self._dtypes = [storage_dtype(spec.dtype) for spec in manifest.inputs]
        self._takes_out = (
            "out" not in self._spec.in_tree.children[1].keys
            and "out" not in manifest.forward_arg_names
        )
        self._results_are_outputs = [
            (result.kind, result.index) for result in manifest.results
        ] == [("output", i) for i in range(len(manifest.outputs))]
        self._call_leaves = self._make_call()

    def _make_call(self) -> DirectCall:
        """Calls the program with the leaves of its arguments.

        The direct way where they are the inputs, in order, and only read, and where results are
        outputs that are arrays NumPy knows.
        """
        manifest = self.manifest
        is_direct = (
            all(spec.kind == "tensor" and not spec.mutated for spec in manifest.inputs)
            and [(argument.kind, argument.index) for argument in manifest.arguments]
            == [("input", i) for i in range(len(manifest.inputs))]
            and all(
                spec.kind == "tensor" and not spec.data_dependent and not is_extended(spec.dtype)
                for spec in manifest.outputs
            )
            and self._results_are_outputs
        )
        if not is_direct:
            return type(self)._call_generally
        return make_direct_call(
            self._dtypes,
            [storage_dtype(spec.dtype) for spec in manifest.outputs],
            self._spec.out_tree,
            self._spec.unflatten,
            self._plans,
            self._run,
            self._handle,
        )

    # ---- the call ----

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if not kwargs and len(args) == self._spec.flat_count:
            return self._call_leaves(self, args)
        out = kwargs.pop("out", None) if self._takes_out else None
        leaves = self._spec.flatten(args, kwargs)
        if out is None:
            return self._call_leaves(self, leaves)
        return self._call_generally(leaves, out)

    def _call_generally(self, leaves: Sequence[object], out: object = None) -> object:
        """Any kind of argument; converts what has to be."""
        self._check_constants(leaves)
        values, written_back = self._stage_inputs(leaves)
        key = tuple([value.shape if isinstance(value, np.ndarray) else value for value in values])
        plan = self._take_plan(key, values, leaves)
        targets = self._out_targets(out, plan) if out is not None else []
        self._bind_inputs(plan, values)
        arrays = self._provide_outputs(plan, targets)
        status = self._run(self._handle, plan.call)
        if status:
            raise self._refusal(status, leaves)
        results = [
            array if read is None else read()
            for array, read in zip(arrays, plan.reads, strict=True)
        ]
        for original, staged in written_back:
            original[...] = staged
        self._plans.setdefault(key, []).append(plan)
        tensors = tuple(
            leaves[self._input_leaves[i]]
            for i, spec in enumerate(self.inputs)
            if spec.kind == "tensor"
        )
        return self._spec.unflatten(self._result_leaves(results, leaves, giver(tensors), targets))

    def _check_constants(self, leaves: Sequence[object]) -> None:
        for position, expected in self._constant_leaves:
            if not equals_constant(leaves[position], expected):
                raise self._mismatch(leaves)

    def _stage_inputs(
        self, leaves: Sequence[object]
    ) -> tuple[list[Array | int | float | bool], list[tuple[Array, Array]]]:
        """Dense arrays in storage dtypes, and (original, copy) where the program writes a copy."""
        values: list[Array | int | float | bool] = []
        written_back = []
        for i, spec in enumerate(self.manifest.inputs):
            leaf = leaves[self._input_leaves[i]]
            if spec.kind != "tensor":
                values.append(self._number(spec, leaf, leaves))
                continue
            array, dense = self._stage_array(i, leaf, leaves)
            if dense is not array and spec.mutated:
                written_back.append((array, dense))
            values.append(dense)
        return values, written_back

    def _stage_array(
        self, index: int, leaf: object, leaves: Sequence[object]
    ) -> tuple[Array, Array]:
        """The array of an input, and the same or a dense copy in its storage dtype."""
        array = self._array(self.manifest.inputs[index], leaf, leaves)
        if array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative:
            return array, array
        return array, array.astype(self._dtypes[index], order="C", copy=True)

    def _number(self, spec: TensorSpec, leaf: Any, leaves: Sequence[object]) -> int | float | bool:
        if not is_number(leaf, spec.kind) or (
            spec.kind == "int" and not -(1 << 63) <= int(leaf) < 1 << 63
        ):
            raise self._mismatch(leaves)
        number: int | float | bool = {"int": int, "float": float, "bool": bool}[spec.kind](leaf)
        return number

    def _array(self, spec: TensorSpec, leaf: object, leaves: Sequence[object]) -> Array:
        try:
            array = as_array(leaf)
        except DeviceError:
            raise self._mismatch(leaves) from None
        if array is None or not matches(array, spec.dtype) or array.ndim != len(spec.shape):
            raise self._mismatch(leaves)
        if spec.mutated and not array.flags.writeable:
            raise self._mismatch(leaves)
        return as_storage(array, spec.dtype)

    def _take_plan(self, key: Key, values: Sequence[Any], leaves: Sequence[object]) -> Plan:
        try:
            return self._plans[key].pop()
        except (KeyError, IndexError):
            pass
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        items = tuple([value.shape if hasattr(value, "shape") else value for value in values])
        plan = Plan(self.manifest, items, self._api.release)
        self._bind_inputs(plan, values)
        rows = [ffi.new("int64_t[]", max(len(spec.shape), 1)) for spec in self.manifest.outputs]
        status = self._api.output_shapes(
            self._handle,
            len(plan.inputs),
            plan.call.inputs,
            len(rows),
            ffi.new("int64_t *[]", rows),
        )
        if status:
            raise self._refusal(status, leaves)
        shapes = [
            list(row[0 : len(spec.shape)])
            for row, spec in zip(rows, self.manifest.outputs, strict=True)
        ]
        plan.set_output_shapes(self.manifest, shapes)
        return plan

    def _bind_inputs(self, plan: Plan, values: Sequence[object]) -> None:
        for value, tensor, number in zip(values, plan.inputs, plan.numbers, strict=True):
            if number is None:
                tensor.data = _from_buffer(value)
            else:
                number[0] = value
        plan.clear_data_dependent(self.manifest)

    def _provide_outputs(self, plan: Plan, targets: Sequence[Target]) -> list[Array | None]:
        """Memory for the outputs: the caller's where it can be written directly, else new."""
        writable = {target.output: target.array for target in targets if target.is_direct}
        arrays: list[Array | None] = [None] * len(plan.outputs)
        provided = iter(plan.arrays)
        for i, read in enumerate(plan.reads):
            if read is not None:
                continue
            tensor, shape, dtype = next(provided)
            array = writable.get(i)
            if array is None:
                array = np.empty(shape, dtype)
            tensor.data = _from_buffer(array)
            arrays[i] = array
        return arrays

    # ---- results ----

    def _out_targets(self, out: object, plan: Plan) -> list[Target]:
        spec = self._spec
        return find_targets(
            self.manifest, spec.result_paths, flatten_tree(spec.out_tree, out, "out"), plan.shapes
        )

    def _result_leaves(
        self,
        values: Sequence[Any],
        leaves: Sequence[object],
        give: Give,
        targets: Sequence[Receiver],
    ) -> list[object]:
        given = [
            value if isinstance(value, (int, float)) else give(value, spec.dtype)
            for spec, value in zip(self.manifest.outputs, values, strict=True)
        ]
        if self._results_are_outputs and not targets:
            return given
        sources: Mapping[str, Sequence[object]] = {"output": given, "argument": leaves}
        results = [
            result.value if result.kind == "constant" else sources[result.kind][result.index]
            for result in self.manifest.results
        ]
        for target in targets:
            results[target.position] = target.receive(values[target.output])
        return results

    # ---- refusals ----

    def _mismatch(self, leaves: Sequence[object], message: str = "") -> InputMismatchError:
        problems = find_problems(self.manifest, self._spec.argument_paths, leaves)
        return InputMismatchError(
            "\n".join(problems) or message or "the arguments do not fit the program"
        )

    def _refusal(self, status: int, leaves: Sequence[object]) -> Exception:
        message = last_error(self._api)
        if status in (abi.INPUT_MISMATCH, abi.INVALID_ARGUMENT):
            return self._mismatch(leaves, message)
        if status == abi.OUT_OF_MEMORY:
            return MemoryError(message)
        if status == abi.DEVICE_ERROR:
            return DeviceError(message)
        return ProgramError(message)

    # ---- what the program is ----

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The program's inputs, in order."""
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The program's outputs, in order."""
        return self.manifest.outputs

    def __repr__(self) -> str:
        arguments = ", ".join(f"{spec.path}: {spec}" for spec in self.inputs)
        results = ", ".join(str(spec) for spec in self.outputs)
        return f"<castoff program {self.manifest.name}({arguments}) -> ({results})>"

    # ---- copies ----

    def fresh(self) -> Runner:
        """Another instance of the program: buffers as saved, constants as built."""
        return make_runner(self.path, self.device, self._options)

    def __reduce__(self) -> tuple[Callable[..., Runner], tuple[object, ...]]:
        """Pickles as path and digest; loading makes a fresh instance, refuses a changed file."""
        return _unpickle, (self.path, self.manifest.digest, self.device, self._options)


def _open_library(path: str | os.PathLike[str], artefact: str | None) -> Library:
    if artefact is None:
        return open_library(path)
    from .package_load import open_packaged

    return open_packaged(path, artefact)


def _unpickle(path: str, digest: str, device: str, options: LoadOptions) -> Runner:
    runner = make_runner(path, device, options)
    if runner.manifest.digest != digest:
        raise ArtefactError(
            f"{path} is not the artefact that was pickled: expected digest {digest}, got another"
        )
    return runner

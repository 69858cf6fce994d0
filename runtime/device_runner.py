"""A loaded program that runs on a GPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import abi
from ._abi_cdef import ffi
from .callspec import flatten_tree
from .device_array import DeviceArray
from .direct_call import DirectCall
from .dlpack import (
    CPU,
    CUDA,
    LEGACY_STREAM,
    Lent,
    borrow,
    device_of,
    is_on_gpu,
    stream_handle,
)
from .errors import DeviceError, InputMismatchError
from .instance import last_error
from .library import CData
from .manifest import Manifest, TensorSpec
from .plan import Plan
from .results import Receiver, Target, find_targets
from .runner import Runner
from .tensors import Give, from_dlpack_of, giver, is_torch, storage_dtype


@dataclass(frozen=True, slots=True)
class DeviceTarget:
    """The caller's `leaf`, which receives an output in its own memory on the device."""

    position: int
    output: int
    leaf: object
    lent: Lent

    def receive(self, value: object) -> object:
        """The leaf: the program has written to it."""
        return self.leaf


class DeviceRunner(Runner):
    """A program on a GPU, called as one on a CPU is.

    Arrays on the device are used where they lie, and then so are results; a call enqueues what it
    can on the caller's stream and does not wait for it. Arrays of the host are copied there, and
    results back. `stream=`, unless the program has an argument of that name, is the stream to work
    on: by default the current one of the library the arrays come from.
    """

    def _prepare(self, manifest: Manifest, check: bool) -> None:
        super()._prepare(manifest, check)
        named = (*self._spec.in_tree.children[1].keys, *manifest.forward_arg_names)
        self._takes_stream = "stream" not in named

    def _make_call(self) -> DirectCall:
        """There is no direct way: every call looks at where its arrays lie."""
        return type(self)._call_generally

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """The results; what is `out=` and `stream=` is said above."""
        stream = kwargs.pop("stream", None) if kwargs and self._takes_stream else None
        out = kwargs.pop("out", None) if kwargs and self._takes_out else None
        leaves = self._spec.flatten(args, kwargs)
        receivers: Sequence[object] = ()
        if out is not None:
            receivers = flatten_tree(self._spec.out_tree, out, "out")
        on_device = [leaf for leaf in (*leaves, *receivers) if is_on_gpu(device_of(leaf))]
        if stream is None and not on_device and self._options.results != "device":
            with_out = {} if out is None else {"out": out}
            return super().__call__(*args, **kwargs, **with_out)
        handle = _current_stream(on_device) if stream is None else stream_handle(stream)
        return self._call_on_stream(leaves, receivers, on_device, handle)

    def synchronize(self) -> None:
        """Waits for every call. Raises ProgramError where one of them read an index out of range."""
        status = self._api.synchronize(self._handle)
        if status:
            raise self._refusal(status, ())

    def _call_on_stream(
        self,
        leaves: Sequence[object],
        receivers: Sequence[object],
        on_device: Sequence[object],
        stream: int,
    ) -> object:
        self._check_constants(leaves)
        values, written_back = self._stage_leaves(leaves, stream)
        # Plans of calls without a stream leave the outputs' places as they are.
        key = ("on a stream", *[_key_of(value) for value in values])
        plan = self._take_plan(key, values, leaves)
        keep = self._bind_leaves(plan, values)
        targets = self._targets(receivers, plan, stream)
        is_kept_there = self._options.results == "device" or (
            self._options.results == "as inputs" and bool(on_device)
        )
        hosts = self._place_outputs(plan, targets, is_kept_there, keep)
        status = self._api.run_on_stream(self._handle, plan.call, ffi.cast("void *", stream))
        if status:
            raise self._refusal(status, leaves)
        results = [self._result(plan, i, hosts[i], targets, stream) for i in range(len(hosts))]
        for original, staged in written_back:
            original[...] = staged
        self._plans.setdefault(key, []).append(plan)
        give = _giver_of(on_device)
        return self._spec.unflatten(self._result_leaves(results, leaves, give, targets))

    # ---- inputs ----

    def _stage_leaves(self, leaves: Sequence[object], stream: int) -> tuple[list[Any], list[Any]]:
        """Numbers, dense arrays of the host, tensors lent by the device; as `_stage_inputs`."""
        values: list[Any] = []
        written_back = []
        for i, spec in enumerate(self.manifest.inputs):
            leaf = leaves[self._input_leaves[i]]
            if spec.kind != "tensor":
                values.append(self._number(spec, leaf, leaves))
            elif is_on_gpu(device_of(leaf)):
                values.append(self._borrow(spec, leaf, leaves, stream))
            else:
                array, dense = self._stage_array(i, leaf, leaves)
                if dense is not array and spec.mutated:
                    written_back.append((array, dense))
                values.append(dense)
        return values, written_back

    def _borrow(
        self, spec: TensorSpec, leaf: object, leaves: Sequence[object], stream: int
    ) -> Lent:
        lent = borrow(leaf, stream)
        if lent.dtype != spec.dtype or len(lent.shape) != len(spec.shape):
            raise self._mismatch(leaves)
        if spec.mutated and lent.is_read_only:
            raise self._mismatch(
                leaves, f"{spec.path}: the program writes to this input, but it is read-only"
            )
        return lent

    def _bind_leaves(self, plan: Plan, values: Sequence[Any]) -> list[object]:
        """Points the plan's inputs to the values; what has to live as long as the call."""
        keep: list[object] = []
        for value, tensor, number in zip(values, plan.inputs, plan.numbers, strict=True):
            if number is not None:
                number[0] = value
            elif isinstance(value, Lent):
                _point_to(tensor, value, keep)
            else:
                tensor.data = ffi.from_buffer(value)
        return keep

    def _bind_inputs(self, plan: Plan, values: Sequence[Any]) -> None:
        """As the artefact needs it to say the shapes of the outputs."""
        self._bind_leaves(plan, values)
        plan.clear_data_dependent(self.manifest)

    # ---- outputs ----

    def _targets(self, receivers: Sequence[object], plan: Plan, stream: int) -> Sequence[Receiver]:
        """What the caller gave for results: memory of the device, of the host."""
        if not receivers:
            return ()
        there: list[DeviceTarget] = []
        for position, (result, leaf) in enumerate(
            zip(self.manifest.results, receivers, strict=True)
        ):
            if result.kind != "output" or not is_on_gpu(device_of(leaf)):
                continue
            lent = borrow(leaf, stream)
            spec, shape = self.manifest.outputs[result.index], plan.shapes[result.index]
            if lent.dtype != spec.dtype or lent.shape != shape or lent.is_read_only:
                where = "out" + self._spec.result_paths[position].removeprefix("result")
                got = f"{lent.dtype}[{', '.join(map(str, lent.shape))}]"
                sizes = ", ".join("?" if size < 0 else str(size) for size in shape)
                raise InputMismatchError(
                    f"{where}: expected a writable {spec.dtype}[{sizes}], got {got}"
                )
            there.append(DeviceTarget(position, result.index, leaf, lent))
        taken = {target.position for target in there}
        hosts = [None if i in taken else leaf for i, leaf in enumerate(receivers)]
        on_host = find_targets(self.manifest, self._spec.result_paths, hosts, plan.shapes)
        self._refuse_two_places(there, on_host)
        return [*there, *on_host]

    def _refuse_two_places(self, there: Sequence[DeviceTarget], on_host: Sequence[Target]) -> None:
        """An output that stands for several results is not copied on the device."""
        first = {target.output: target for target in reversed(there)}
        both: list[DeviceTarget | Target] = [*there, *on_host]
        for target in both:
            other = first.get(target.output)
            if other is None or other is target:
                continue
            if isinstance(target, DeviceTarget) and _is_same_memory(target.lent, other.lent):
                continue
            paths = [self._spec.result_paths[i] for i in (other.position, target.position)]
            names = " and ".join("out" + path.removeprefix("result") for path in paths)
            raise InputMismatchError(
                f"{names}: one output of the program, which goes to one place where that is on a "
                "device; give memory for one of them"
            )

    def _place_outputs(
        self, plan: Plan, targets: Sequence[Receiver], is_kept_there: bool, keep: list[object]
    ) -> list[Any]:
        """Says where each output goes; the host arrays among them, None for the others."""
        hosts: list[Any] = [None] * len(plan.outputs)
        lent = {t.output: t.lent for t in targets if isinstance(t, DeviceTarget)}
        writable = {t.output: t.array for t in targets if isinstance(t, Target) and t.is_direct}
        received = {t.output for t in targets if isinstance(t, Target)}
        for i, (spec, tensor) in enumerate(zip(self.manifest.outputs, plan.outputs, strict=True)):
            if spec.kind != "tensor":
                continue
            tensor.strides = ffi.NULL
            if i in lent:
                _point_to(tensor, lent[i], keep)
                continue
            is_there = is_kept_there and i not in received
            tensor.device.device_type = CUDA if is_there else CPU
            tensor.device.device_id = self._device.index if is_there else 0
            tensor.data = ffi.NULL
            if not is_there and not spec.data_dependent:
                hosts[i] = writable.get(i)
                if hosts[i] is None:
                    hosts[i] = np.empty(plan.shapes[i], storage_dtype(spec.dtype))
                tensor.data = ffi.from_buffer(hosts[i])
        return hosts

    def _result(
        self, plan: Plan, index: int, host: Any, targets: Sequence[Receiver], stream: int
    ) -> Any:
        spec, tensor, read = self.outputs[index], plan.outputs[index], plan.reads[index]
        if host is not None:
            return host
        if spec.kind != "tensor" or tensor.device.device_type == CPU:
            assert read is not None, "an output without an array is read"
            return read()
        for target in targets:
            if isinstance(target, DeviceTarget) and target.output == index:
                return target.leaf
        address, shape = tensor.data, tuple(tensor.shape[0 : tensor.ndim])
        tensor.data = ffi.NULL
        return DeviceArray(
            self._handle, self._api, address, spec.dtype, shape, self._device.index, stream
        )

    # ---- refusals ----

    def _mismatch(self, leaves: Sequence[object], message: str = "") -> InputMismatchError:
        """Arrays on the device are described by stand-ins of their dtype and shape."""
        return super()._mismatch([_stand_in(leaf) for leaf in leaves], message)

    def _refusal(self, status: int, leaves: Sequence[object]) -> Exception:
        if status == abi.INVALID_ARGUMENT:
            return DeviceError(last_error(self._api))
        return super()._refusal(status, leaves)


def _key_of(value: Any) -> object:
    """What a plan depends on: where a tensor lies and its shape, the value of a number."""
    if isinstance(value, Lent):
        return ("device", value.shape)
    return ("host", value.shape) if isinstance(value, np.ndarray) else value


def _is_same_memory(one: Lent, other: Lent) -> bool:
    return (one.address, one.strides) == (other.address, other.strides)


def _point_to(tensor: CData, lent: Lent, keep: list[object]) -> None:
    tensor.data = ffi.cast("void *", lent.address)
    tensor.device.device_type, tensor.device.device_id = lent.device
    tensor.strides = ffi.NULL
    keep.append(lent)
    if lent.strides is not None:
        strides = ffi.new("int64_t[]", lent.strides)
        keep.append(strides)
        tensor.strides = strides


def _stand_in(leaf: object) -> object:
    if not is_on_gpu(device_of(leaf)):
        return leaf
    lent = borrow(leaf, -1)
    try:
        dtype = storage_dtype(lent.dtype)
    except TypeError:
        return leaf
    return np.lib.stride_tricks.as_strided(np.empty(1, dtype), lent.shape, (0,) * len(lent.shape))


def _current_stream(on_device: Sequence[Any]) -> int:
    """The stream that the first array's library works on; the legacy default where it does not say."""
    if not on_device:
        return LEGACY_STREAM
    first = on_device[0]
    if isinstance(first, DeviceArray):
        return first.stream
    if is_torch(first):
        return stream_handle(sys.modules["torch"].cuda.current_stream(first.device))
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(first, getattr(cupy, "ndarray", ())):
        return stream_handle(cupy.cuda.get_current_stream())
    return LEGACY_STREAM


def _giver_of(on_device: Sequence[object]) -> Give:
    """What makes results the kind of array that was given on the device."""
    foreign = next((leaf for leaf in on_device if not isinstance(leaf, DeviceArray)), None)
    convert = None if foreign is None else from_dlpack_of(foreign)
    give_host = giver(())

    def give(value: Any, name: str) -> object:
        if isinstance(value, DeviceArray):
            return value if convert is None else convert(value)
        return give_host(value, name) if isinstance(value, np.ndarray) else value

    return give

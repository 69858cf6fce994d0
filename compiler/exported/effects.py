"""Which nodes of a graph may not change places although neither uses what the other gives.

A program as `torch.export.export` leaves it writes into tensors and makes views of them; random
numbers come from one stream. What is known here is what names say: an operator of aten whose name
ends in an underscore writes into its first argument, one of a closed list gives views of it, one of
another list draws random numbers. Operators of other packages are taken to do all of that to all
of their arguments. Assertions may change places: which of several that fail speaks first is no part
of what a program means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .arguments import output_names, subgraphs, tensor_names
from .schema import AsBool, AsFloat, AsInt, Graph, NamedArgument, Node

_VIEWS = frozenset(
    [
        "_conj",
        "_neg_view",
        "_reshape_alias",
        "_unsafe_view",
        "adjoint",
        "alias",
        "align_as",
        "align_tensors",
        "align_to",
        "alpha_dropout",
        "as_strided",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "broadcast_tensors",
        "broadcast_to",
        "ccol_indices",
        "chunk",
        "col_indices",
        "conj",
        "contiguous",
        "crow_indices",
        "data",
        "detach",
        "diagonal",
        "dropout",
        "dsplit",
        "expand",
        "expand_as",
        "feature_alpha_dropout",
        "feature_dropout",
        "flatten",
        "hsplit",
        "imag",
        "indices",
        "lift_fresh",
        "matrix_H",
        "meshgrid",
        "mH",
        "moveaxis",
        "movedim",
        "mT",
        "narrow",
        "numpy_T",
        "pad",
        "permute",
        "pin_memory",
        "positive",
        "ravel",
        "real",
        "refine_names",
        "rename",
        "reshape",
        "reshape_as",
        "resolve_conj",
        "resolve_neg",
        "row_indices",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "swapaxes",
        "swapdims",
        "swap_axes",
        "t",
        "T",
        "tensor_split",
        "to",
        "transpose",
        "type_as",
        "unbind",
        "unflatten",
        "unfold",
        "unsafe_chunk",
        "unsafe_split",
        "unsafe_split_with_sizes",
        "unsqueeze",
        "values",
        "view",
        "view_as",
        "view_as_complex",
        "view_as_real",
        "vsplit",
        "_to_copy",
        "_autocast_to_full_precision",
        "_autocast_to_reduced_precision",
        "float",
        "double",
        "half",
        "int",
        "long",
    ]
)
"""Base names of the operators of aten whose results may share memory with their first argument."""

_RANDOM = frozenset(
    [
        "alpha_dropout",
        "bernoulli",
        "binomial",
        "cauchy",
        "dropout",
        "exponential",
        "feature_alpha_dropout",
        "feature_dropout",
        "geometric",
        "gru",
        "gru_cell",
        "log_normal",
        "lstm",
        "multinomial",
        "native_dropout",
        "normal",
        "poisson",
        "rand",
        "rand_like",
        "randint",
        "randint_like",
        "randn",
        "randn_like",
        "random",
        "randperm",
        "rnn_relu",
        "rnn_tanh",
        "rrelu",
        "rrelu_with_noise",
        "scaled_dot_product_attention",
        "uniform",
        "_fused_dropout",
        "_sample_dirichlet",
        "_scaled_dot_product_attention_math",
        "_standard_gamma",
        "normal_functional",
        "bernoulli_",
        "cauchy_",
        "exponential_",
        "geometric_",
        "log_normal_",
        "normal_",
        "random_",
        "rrelu_",
        "rrelu_with_noise_",
        "uniform_",
        "dropout_",
        "alpha_dropout_",
        "feature_dropout_",
        "feature_alpha_dropout_",
    ]
)
"""Base names of the operators of aten that may draw random numbers."""

_WRITES_STATISTICS = frozenset(
    [
        "batch_norm",
        "cudnn_batch_norm",
        "fused_moving_avg_obs_fake_quant",
        "instance_norm",
        "miopen_batch_norm",
        "native_batch_norm",
        "rrelu_with_noise",
        "_batch_norm_impl_index",
        "_batch_norm_with_update",
        "_fused_moving_avg_obs_fq_helper",
        "_native_batch_norm_legit",
    ]
)
"""Base names of the operators of aten that write into arguments other than their first one."""

_NOT_STATISTICS = frozenset(("input", "self", "weight", "bias"))
_IN_PLACE_DUNDERS = frozenset(("__iand__", "__ior__", "__ixor__", "__ilshift__", "__irshift__"))
_NUMBERS_OF_PYTHON = ("_operator.", "math.", "torch.sym_", "torch._sym_")
_SWITCHES = frozenset(("train", "training"))
_PROBABILITIES = frozenset(("p", "dropout", "dropout_p"))


class _Aliases:
    """Names that may stand for the same memory, as a union-find forest."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def root(self, name: str) -> str:
        parents = self._parents
        while (parent := parents.get(name, name)) != name:
            parents[name] = parents.get(parent, parent)
            name = parent
        return name

    def join(self, names: Iterable[str]) -> None:
        first: str | None = None
        for name in names:
            if first is None:
                first = name
            else:
                self._parents[self.root(name)] = self.root(first)


def order_constraints(graph: Graph, shared: Iterable[Sequence[str]] = ()) -> list[set[int]]:
    """For each node the earlier ones that have to stay before it, uses of results aside.

    `shared` holds groups of graph inputs that are known to lie in the same memory.
    """
    effects = [_Effects(node) for node in graph.nodes]
    aliases = _Aliases()
    for names in shared:
        aliases.join(names)
    for effect in effects:
        aliases.join(effect.aliased)
    before: list[set[int]] = [set() for _ in graph.nodes]
    written = {aliases.root(name) for effect in effects for name in effect.written}
    last_write: dict[str, int] = {}
    readers: dict[str, list[int]] = {}
    last_draw: int | None = None
    last_barrier: int | None = None
    for index, effect in enumerate(effects):
        if effect.draws:
            if last_draw is not None:
                before[index].add(last_draw)
            last_draw = index
        if effect.is_barrier:
            before[index].update(range(0 if last_barrier is None else last_barrier, index))
            last_barrier = index
        elif last_barrier is not None:
            before[index].add(last_barrier)
        writes = {aliases.root(name) for name in effect.written}
        touches = {aliases.root(name) for name in effect.touched} & written
        for memory in touches | writes:
            if memory in last_write:
                before[index].add(last_write[memory])
            if memory in writes:
                before[index].update(readers.pop(memory, ()))
                last_write[memory] = index
            else:
                readers.setdefault(memory, []).append(index)
    return before


def mutates(graph: Graph) -> bool:
    """Whether a node of the graph, or of a graph within, may write into a tensor it takes."""
    return any(_Effects(node).written for node in graph.nodes)


def written_names(node: Node) -> tuple[str, ...]:
    """Names of the tensors that a node may write into."""
    return _Effects(node).written


def is_aten_write(node: Node) -> bool:
    """Whether a node is an operator of aten that by its name writes into what it takes."""
    namespace, base, overload = _split(node.target)
    return namespace == "aten" and (_is_in_place(base) or is_out_overload(overload))


def is_effectful(graph: Graph) -> bool:
    """Whether a node of the graph writes, draws random numbers or changes a mode."""
    return any(
        effect.written or effect.draws or effect.is_barrier for effect in map(_Effects, graph.nodes)
    )


class _Effects:
    """What one node does to memory: names it touches, writes, and makes aliases of one another."""

    __slots__ = ("aliased", "draws", "is_barrier", "touched", "written")

    def __init__(self, node: Node) -> None:
        taken = tuple(_tensors(node.inputs))
        given = tuple(output_names(node))
        self.touched = taken + given
        self.aliased: tuple[str, ...] = ()
        self.written: tuple[str, ...] = ()
        self.draws = False
        self.is_barrier = False
        namespace, base, overload = _split(node.target)
        match namespace:
            case "python":
                pass
            case "prims":
                self.aliased = taken + given
                self.written = taken if base in ("copy_to", "resize") else ()
            case "aten":
                self._of_aten(node, base, overload, taken, given)
            case "higher_order":
                self.aliased = taken + given
                if base == "with_effects" or any(map(is_effectful, subgraphs(node))):
                    self.written = taken
                    self.draws = True
            case "":
                # A function of torch that is no operator, such as one that sets a mode.
                self.is_barrier = True
                self.aliased = self.touched
                self.written = taken
            case _:
                self.aliased = self.touched
                self.written = taken
                self.draws = True

    def _of_aten(
        self, node: Node, base: str, overload: str, taken: tuple[str, ...], given: tuple[str, ...]
    ) -> None:
        first = tuple(_tensors(node.inputs[:1]))
        is_in_place = base in _IN_PLACE_DUNDERS or (base.endswith("_") and base[-2:] != "__")
        if is_out_overload(overload) or (
            is_in_place and base.startswith(("_foreach", "_fused", "rrelu_with_noise"))
        ):
            self.written = self.aliased = taken + given
        elif is_in_place:
            self.written = first
            self.aliased = first + given
        elif base in _VIEWS:
            self.aliased = first + given
        elif base in _WRITES_STATISTICS and not _is_deterministic(base, node.inputs):
            self.written = tuple(
                _tensors(given for given in node.inputs if given.name not in _NOT_STATISTICS)
            )
        self.draws = base in _RANDOM and not _is_deterministic(base, node.inputs)


def _split(target: str) -> tuple[str, str, str]:
    """Namespace, base name and overload; the namespace is "" for what is no operator."""
    if target.startswith(_NUMBERS_OF_PYTHON):
        return "python", target, ""
    parts = target.split(".")
    if target.startswith("torch.ops.") and len(parts) >= 4:
        return parts[2], parts[3], ".".join(parts[4:])
    # Targets of extensions read `#namespace:name`.
    return ("extension" if target.startswith("#") else ""), target, ""


def _is_in_place(base: str) -> bool:
    return base in _IN_PLACE_DUNDERS or (base.endswith("_") and base[-2:] != "__")


_OUT_OVERLOADS = frozenset(
    [
        "L",
        "OutScalar_Other",
        "OutScalar_Self",
        "OutTensor",
        "Q",
        "U",
        "X",
        "a",
        "dim_max",
        "dim_min",
        "dim_values",
        "eigenvalues",
        "eigvals",
        "grad_input",
        "inverse",
        "out",
        "out_",
        "out_mode",
        "out_rcond_tensor",
        "out_tol_tensor",
        "output",
        "result",
        "sign",
        "values",
        "values_stable",
    ]
)
"""Overloads of aten that write into arguments given for it: many are called like the first of these."""


def is_out_overload(overload: str) -> bool:
    """Whether an overload of an operator of aten is a form with out=."""
    return overload in _OUT_OVERLOADS or overload.endswith("_out")


def _tensors(inputs: Iterable[NamedArgument]) -> Iterator[str]:
    for given in inputs:
        yield from tensor_names(given.arg)


def _is_deterministic(base: str, inputs: Sequence[NamedArgument]) -> bool:
    """Whether the arguments say that no random number is drawn after all."""
    has_probability = False
    for given in inputs:
        if given.name in _SWITCHES and given.arg == AsBool(False):
            return True
        if given.name in _PROBABILITIES:
            has_probability = True
            if given.arg in (AsFloat(0.0), AsInt(0)):
                return True
    return "attention" in base and not has_probability

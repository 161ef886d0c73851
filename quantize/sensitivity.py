"""What rounding each tensor costs, from one pass: first-order effects on the corrected distribution.

Rounding a tensor moves it by a known error, and the gradient of the log-probabilities says what that does to the
answer; one backward pass per class gives the gradients of all tensors. With d the change of log p,

    KL(p, q) ~ 1/2 sum_c p_c (d_c - sum_k p_k d_k) ** 2.

Rounding errors of different tensors are nearly uncorrelated, so that their divergences add up, and the divergence of
any placement can be predicted without running it. (Adding up the changes instead would rely on cancellations that do
not occur on other images.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from arbex.provenance import OperatorCost, Recipe
from arbex.spec import PROBABILITY_FLOOR
from calibration import TensorRange
from quantize.bias_correction import mean_effects
from quantize.operators import ATTENTION, CONVOLUTION, PRODUCTS, SEQUENTIAL, TRANSPOSED, WEIGHTED
from quantize.patterns import calls
from quantize.placement import in_head, is_narrow, module_path, rounded_tensors
from quantize.program import apply_ranges, blank_input, prepare
from quantize.recipe import FLOAT
from quantize.rounding import is_observer, round_activation, round_weight


def multiply_adds(node: Node, value: Any, arguments: tuple[Any, ...]) -> int:
    """Returns the multiply-adds of an operator that computed ``value``, for the whole batch; 0 for all others."""
    if calls(node, (*WEIGHTED, SEQUENTIAL)):
        return int(value.numel() * arguments[1][0].numel())
    if calls(node, (TRANSPOSED,)):
        return int(arguments[0].numel() * arguments[1][0].numel())
    if calls(node, (ATTENTION,)):
        query, key, result = arguments[0], arguments[1], arguments[2]
        places = query.numel() // query.shape[-1] * key.shape[-2]  # scores
        return int(places * (query.shape[-1] + result.shape[-1]))
    if calls(node, PRODUCTS):
        return int(value.numel() * arguments[0].shape[-1])
    return 0


class Counter(Interpreter):
    """Counts the multiply-adds of each operator."""

    def __init__(self, program: GraphModule) -> None:
        """Starts with nothing counted."""
        super().__init__(program)
        self.found: dict[str, int] = {}

    def run_node(self, n: Node) -> Any:
        """Computes an operator and counts it."""
        value = super().run_node(n)
        if n.op == "call_function" and (macs := multiply_adds(n, value, self.fetch_args_kwargs_from_env(n)[0])):
            self.found[n.name] = macs
        return value


@torch.no_grad()
def count_macs(program: GraphModule) -> dict[str, int]:
    """Returns the multiply-adds of each operator for one image; operators without any are left out."""
    counter = Counter(program)
    counter.run(blank_input(program))
    return counter.found


class Meter(Interpreter):
    """Runs a prepared program in float and records what rounding would do at its observers.

    Args:
        prepared: The program; its observers must hold ranges.
        made_up: What biases make up for, by layer (``quantize.bias_correction``).
    """

    def __init__(self, prepared: GraphModule, made_up: Mapping[str, Tensor] | None = None) -> None:
        """Starts with no image seen."""
        super().__init__(prepared)
        self.made_up = made_up or {}
        observers = [n for n in prepared.graph.nodes if n.op == "call_module" and is_observer(self.module_of(n))]
        self.observers = set(observers)
        # A tensor that is passed on with the same scale was rounded at its first observer.
        self.firsts = set({n.target: n for n in reversed(observers)}.values())
        self.moves: dict[str, tuple[Tensor, Tensor]] = {}

    def module_of(self, node: Node) -> Any:
        """Returns the module that a node calls."""
        return self.fetch_attr(str(node.target))

    def run_node(self, n: Node) -> Any:
        """Computes an operator; records rounding at observers of activations and where weights are observed."""
        if n in self.observers:
            return self.observe(n)
        value = super().run_node(n)
        return self.record_weight(n, value) if calls(n, WEIGHTED) and n.args[1] in self.observers else value

    def record_weight(self, node: Node, value: Tensor) -> Tensor:
        """Records what rounding the weight of a layer does to its output, which is passed on."""
        weight = node.args[1]
        assert isinstance(weight, Node)
        arguments, _ = self.fetch_args_kwargs_from_env(node)
        with torch.no_grad():
            rounded = round_weight(arguments[1], self.module_of(weight))
            moved = node.target(arguments[0], rounded, *arguments[2:]) - value  # type: ignore[operator]
            if (effect := self.made_up.get(node.name)) is not None:
                moved -= effect[:, None, None] if calls(node, (CONVOLUTION,)) else effect
        self.moves[f"{node.name}.weight"] = (value, moved)
        return value.clone()  # otherwise an in-place activation would take over the gradient

    def observe(self, node: Node) -> Tensor:
        """Records the rounding error of an activation, which is passed on; weights are handled at their operator."""
        source = node.args[0]
        assert isinstance(source, Node)
        value: Tensor = self.env[source]
        observer = self.module_of(node)
        if node in self.firsts and "per_tensor" in str(observer.qscheme):
            with torch.no_grad():
                self.moves[source.name] = (value, self.rounding(source.name, value, observer))
            return value.clone()
        return value

    def rounding(self, name: str, value: Tensor, observer: Any) -> Tensor:
        """Returns the rounding error of an activation; several ways to round it are leading dimensions."""
        return round_activation(value, observer) - value

    def measure(self, images: Tensor) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Returns the corrected distributions ``[B, N]``, and by tensor how its rounding changes their logarithms.

        Where a tensor was rounded in several ways, these are leading dimensions of the changes ``[..., B, N]``.
        """
        self.moves.clear()
        with torch.enable_grad():
            corrected: Tensor = self.run(images.clone().requires_grad_())[0]
            logarithms = corrected.clamp_min(PROBABILITY_FLOOR).log().sum(0)  # images do not depend on each other
        effects = {
            name: np.zeros((*moved.shape[: moved.ndim - value.ndim], *corrected.shape))
            for name, (value, moved) in self.moves.items()
        }
        values = [value for value, _ in self.moves.values()]
        for column, logarithm in enumerate(logarithms):
            last = column + 1 == len(logarithms)
            gradients = torch.autograd.grad(logarithm, values, retain_graph=not last, allow_unused=True)
            for (name, (value, moved)), gradient in zip(self.moves.items(), gradients, strict=True):
                if gradient is not None:
                    ways = moved.shape[: moved.ndim - value.ndim]
                    change = (gradient * moved).reshape(*ways, len(images), -1).sum(-1)
                    effects[name][..., column] = change.double().numpy()
        return corrected.detach().double().numpy(), effects


def divergence(probabilities: NDArray[np.float64], changes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean KL in nats ``[...]``, to second order, that follows from changes of log-probabilities.

    Args:
        probabilities: ``[n, N]``.
        changes: ``[..., n, N]``.
    """
    changes = changes - (probabilities * changes).sum(-1, keepdims=True)
    kl: NDArray[np.float64] = (probabilities * changes**2).sum(-1).mean(-1) / 2
    return kl


def measure_costs(
    program: GraphModule, ranges: Mapping[str, TensorRange], recipe: Recipe, batches: Iterable[Tensor]
) -> dict[str, float]:
    """Returns the mean KL in nats that rounding costs, by tensor; a weight is ``OPERATOR.weight``.

    This takes one forward pass, and one backward pass per class.
    """
    prepared = prepare(program, recipe)
    apply_ranges(prepared, ranges)
    meter = Meter(prepared, mean_effects(prepared, ranges))
    shown = [meter.measure(batch) for batch in batches]
    probabilities = np.concatenate([p for p, _ in shown])
    return {
        name: float(divergence(probabilities, np.concatenate([effects[name] for _, effects in shown])))
        for name in shown[0][1]
    }


@dataclass(frozen=True)
class Sensitivity:
    """The sensitivity table, and in which order operators are restored to float.

    Attributes:
        costs: Cost of each operator, the largest first.
        order: Names of the operators in the order of restoration: the most divergence per multiply-add first.
        predicted: Mean KL in nats with the first 0, 1, 2, … of ``order`` restored, the largest over the recipes.
        int8_share: Share of all multiply-adds in int8 with the first 0, 1, 2, … of ``order`` restored.
    """

    costs: tuple[OperatorCost, ...]
    order: tuple[str, ...]
    predicted: tuple[float, ...]
    int8_share: tuple[float, ...]


class Predictor:
    """Predicts the divergence of placements under several recipes."""

    def __init__(self, program: GraphModule, costs: Mapping[Recipe, Mapping[str, float]]) -> None:
        """Takes the traced program, and what rounding each tensor costs under each recipe."""
        self.folded, self.costs = prepare(program, FLOAT), costs
        nodes = [n for n in self.folded.graph.nodes if calls(n, WEIGHTED)]
        self.operators = {n.name: module_path(n) for n in nodes if not in_head(n)}
        narrowest = max(recipe.min_channels for recipe in costs)
        self.stems = {n.name for n in nodes if is_narrow(n, narrowest)}  # only their outputs are rounded

    def kl(self, restored: Iterable[str]) -> float:
        """Returns the mean KL in nats with some operators in float, the largest over the recipes."""
        kept = tuple(restored)
        found = []
        for recipe, costs in self.costs.items():
            rounded = rounded_tensors(self.folded, replace(recipe, float_operators=kept))
            found.append(sum(costs.get(name, 0.0) for name in sorted(rounded)))
        return max(found)

    def alone(self, operator: str) -> float:
        """Returns the mean KL in nats with only one operator in int8."""
        return self.kl(name for name in self.operators if name != operator)

    def restoring_order(self, macs: Mapping[str, int], look: int = 6) -> tuple[list[str], list[float]]:
        """Returns the operators, the most divergence per multiply-add first, and the KL after restoring each.

        Each step recomputes only the gains of the ``look`` operators that were most promising at the step before.
        """
        curve = [self.kl(())]
        gains = {name: curve[0] - self.kl((name,)) for name in self.operators}
        order: list[str] = []
        while gains:
            best = sorted(gains, key=lambda name: gains[name] / macs[name], reverse=True)[:look]
            gains.update({name: curve[-1] - self.kl((*order, name)) for name in best})
            chosen = max(best, key=lambda name: gains[name] / macs[name])
            order.append(chosen)
            curve.append(curve[-1] - gains.pop(chosen))
        return order, curve


def analyze(program: GraphModule, costs: Mapping[Recipe, Mapping[str, float]]) -> Sensitivity:
    """Returns the sensitivity table of a traced program from ``measure_costs`` under some recipes."""
    predictor = Predictor(program, costs)
    macs = count_macs(predictor.folded)
    rows = [
        OperatorCost(operator=name, module=module, macs=macs[name], kl=predictor.alone(name))
        for name, module in predictor.operators.items()
    ]
    order, curve = predictor.restoring_order(macs)
    in_int8 = {name: 0 if name in predictor.stems else macs[name] for name in predictor.operators}
    left, total = sum(in_int8.values()), sum(macs.values())
    shares = [left / total]
    for name in order:
        left -= in_int8[name]
        shares.append(left / total)
    return Sensitivity(tuple(sorted(rows, key=lambda row: -row.kl)), tuple(order), tuple(curve), tuple(shares))

"""What ranges cost: by hand, against what really happens, and where a value is all that matters or does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from calibration import TensorRange
from calibration.observers import OBSERVERS, observe
from quantize.observer_costs import SCHEMES, measure_observers, round_to
from quantize.program import calibrate, quantize
from quantize.recipe import CPU
from tests.programs import exported

AFFINE, SYMMETRIC = SCHEMES


def test_rounding_by_hand() -> None:
    value = torch.tensor([-1.0, 0.0, 0.26, 0.5, 3.0])
    # 0 to 2.55 in steps of .01; and -2.54 to 2.54 in steps of .02
    assert round_to(value, TensorRange(0.3, 2.55), AFFINE).tolist() == pytest.approx([0, 0, 0.26, 0.5, 2.55])
    assert round_to(value, TensorRange(0, 2.54), SYMMETRIC).tolist() == pytest.approx([-1, 0, 0.26, 0.5, 2.54])
    # -1.02 to 1.53 in steps of .01, with zero exactly in it
    assert round_to(value, TensorRange(-1.02, 1.53), AFFINE).tolist() == pytest.approx([-1, 0, 0.26, 0.5, 1.53])
    assert round_to(torch.zeros(2), TensorRange(0, 0), AFFINE).tolist() == [0, 0]


class Rare(nn.Module):
    """A map whose values are small but for a rare large one, and a classifier that looks at either of them."""

    def __init__(self, *, decisive: bool) -> None:
        super().__init__()
        self.before = nn.Conv2d(4, 4, 1, bias=False)
        self.after = nn.Conv2d(4, 3, 1, bias=False)
        torch.manual_seed(0)
        self.before.weight.data = torch.eye(4)[:, :, None, None]
        self.after.weight.data = torch.randn(3, 4, 1, 1)
        self.after.weight.data[:, 0] *= 0.3 if decisive else 0.0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.after(torch.relu(self.before(x))).mean((2, 3))
        return logits.softmax(-1), logits


def rare_images() -> Tensor:
    x = torch.rand(24, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    x[:, 0] = 0
    x[::6, 0, 3:6, 5:8] = 12.0  # nine large values in every sixth image
    return x


def costs_of(program: GraphModule, x: Tensor) -> dict[str, dict[str, float]]:
    statistics = calibrate(program, [x])
    candidates = {o: {name: observe(o, seen) for name, seen in statistics.items()} for o in OBSERVERS}
    return measure_observers(program, candidates, torch.split(x, 4))


@pytest.mark.parametrize("decisive", [True, False])
def test_a_large_value_is_cut_only_if_no_answer_rests_on_it(decisive: bool) -> None:
    x = rare_images()
    program = exported(Rare(decisive=decisive), x[:2])
    cost = costs_of(program, x)["relu"]
    assert (cost["minmax"] < cost["moving-average"]) == decisive
    kl = {}
    statistics = calibrate(program, [x])
    for name in ("minmax", "moving-average"):
        ranges = {tensor: observe(name, seen) for tensor, seen in statistics.items()}
        with torch.no_grad():
            p, q = program(x)[0].double(), quantize(program, ranges, CPU)(x)[0].double()
        kl[name] = float((p * (p / q).log()).sum(1).mean())
    assert (kl["minmax"] < kl["moving-average"]) == decisive  # and that is what happens


def test_batches_add_up() -> None:
    x = rare_images()
    program = exported(Rare(decisive=True), x[:2])
    statistics = calibrate(program, [x])
    candidates = {"minmax": {name: observe("minmax", seen) for name, seen in statistics.items()}}
    whole = measure_observers(program, candidates, [x])
    parts = [measure_observers(program, candidates, [part]) for part in torch.split(x, 8)]
    for name, cost in whole.items():
        assert sum(part[name]["minmax"] for part in parts) == pytest.approx(cost["minmax"], rel=1e-4)

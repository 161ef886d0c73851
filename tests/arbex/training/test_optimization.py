"""Learning rates and averaged weights, against figures worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from arbex.checkpoint import LAST, read_weights
from arbex.methods import read_options
from arbex.models.head import LinearHead, ReliabilityHead
from arbex.settings import TrainSettings, override
from arbex.training.loop import train
from arbex.training.muon import MuonWithAdamW, dense_weights
from arbex.training.optimization import (
    WeightAverage,
    current_learning_rate,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)
from tests.arbex.training.test_loop import QUICK, request


def test_schedules() -> None:
    paper = TrainSettings()
    assert learning_rate(paper, 0.5) == 3e-4
    assert learning_rate(paper, 2.0) == pytest.approx(3e-4 * 0.995**2)
    cosine = TrainSettings(epochs=10, learning_rate=1.0, schedule="cosine")
    assert learning_rate(cosine, 0.0) == pytest.approx(0.02)  # the warm-up starts at a fiftieth
    assert learning_rate(cosine, 0.5) == pytest.approx(0.994, abs=1e-3)  # and ends after a twentieth of the steps
    assert learning_rate(cosine, 5.0) == pytest.approx(0.505, abs=0.01)
    assert learning_rate(cosine, 10.0) == pytest.approx(0.01)


def test_one_cycle_rises_for_a_quarter_and_falls_to_a_thousandth() -> None:
    settings = TrainSettings(epochs=8, learning_rate=2.0, schedule="one-cycle")
    found = [learning_rate(settings, epoch) for epoch in (0.0, 1.0, 2.0, 5.0, 8.0)]
    assert found == pytest.approx([0.08, 1.04, 2.0, 1.001, 0.002])  # half of a cosine each way


def test_restarts_are_twice_as_far_apart_each_time() -> None:
    settings = TrainSettings(epochs=100, learning_rate=1.0, schedule="restarts", restart_epochs=2)
    assert [learning_rate(settings, epoch) for epoch in (0.0, 2.0, 6.0, 14.0)] == pytest.approx([1.0] * 4)
    assert [learning_rate(settings, epoch) for epoch in (1.0, 4.0, 10.0)] == pytest.approx([0.505] * 3)
    assert learning_rate(settings, 13.999) == pytest.approx(0.01, abs=1e-4)


class Scale(nn.Module):
    """A weight and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x * self.weight)
        return out


def test_an_average_forgets_the_random_weights_of_the_start() -> None:
    model = Scale()
    average = WeightAverage(model, 0.5)
    for value in (8.0, 4.0, 2.0):
        with torch.no_grad():
            model.weight.fill_(value)
        model(torch.ones(2, 1))
        average.update(model)
    # The first update copies; the next ones keep 2/11 and 3/12 of the average, both below the final decay of 0.5.
    averaged = average.model.state_dict()
    first = 2 / 11 * 8 + 9 / 11 * 4
    assert float(averaged["weight"]) == pytest.approx(3 / 12 * first + 9 / 12 * 2)
    # Of the batch norm as well: its running means are 0.8, 0.72 + 0.4 and 1.008 + 0.2.
    first = 2 / 11 * 0.8 + 9 / 11 * 1.12
    assert float(averaged["norm.running_mean"]) == pytest.approx(3 / 12 * first + 9 / 12 * 1.208)
    assert int(averaged["norm.num_batches_tracked"]) == 3


def test_the_decay_of_an_average_grows_to_its_final_value() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(0.0)
        for _ in range(200):
            average.update(model)
        model.weight.fill_(1.0)
        average.update(model)
    assert float(average.model.state_dict()["weight"]) == pytest.approx(0.1)


def test_head_and_anchors_can_learn_at_rates_of_their_own(faces: Path, tmp_path: Path) -> None:
    """At a thousandth of the rate the head hardly moves; the encoder moves as before."""
    moved = {}
    for name, options, rate in (("all", {}, 1.0), ("slow", {"anchor_rate": 5.0}, 0.001)):
        settings = override(QUICK, ["epochs=1", f"head_rate={rate}"])
        asked = replace(
            request(faces, tmp_path / name), settings=settings, method_options=read_options("arbex", options)
        )
        start = tmp_path / f"{name}-start"
        train(replace(asked, out=start, settings=override(settings, ["epochs=0"])))
        train(asked)
        before, after = (read_weights(run / LAST) for run in (start, tmp_path / name))
        moved[name] = {key: float((after[key] - before[key]).abs().mean()) for key in after if "num_batches" not in key}
    assert moved["slow"]["head.reduce.weight"] < 0.01 * moved["all"]["head.reduce.weight"]
    assert moved["slow"]["head.anchors"] > 2 * moved["all"]["head.anchors"]
    assert moved["slow"]["encoder.image.0.0.0.weight"] > 0.3 * moved["all"]["encoder.image.0.0.0.weight"]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_learning_rate_follows_the_factor_of_a_group(optimizer: str) -> None:
    encoder, head = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
    model = torch.nn.Sequential(encoder, head)
    settings = override(TrainSettings(), [f"optimizer={optimizer}", "learning_rate=0.5"])
    found = make_optimizer(model, dense_weights(encoder), settings, dict.fromkeys(head.parameters(), 0.1))
    set_learning_rate(found, 0.2)
    rates = {id(p): group["lr"] for group in found.param_groups for p in group["params"]}
    assert {rates[id(p)] for p in encoder.parameters()} == {0.2}
    assert [rates[id(p)] for p in head.parameters()] == pytest.approx([0.02] * 2)
    assert current_learning_rate(found) == pytest.approx(0.2)
    plain = make_optimizer(model, dense_weights(encoder), settings)
    ordered = [[id(p) for group in one.param_groups for p in group["params"]] for one in (plain, found)]
    assert sorted(ordered[0]) == sorted(ordered[1])


def test_muon_changes_what_is_inside_a_head_and_not_what_answers() -> None:
    head = ReliabilityHead(12, 7, 3)
    names = {id(parameter): name for name, parameter in head.named_parameters()}
    inner = {names[id(parameter)] for parameter in head.inner_weights}
    assert inner == {"reduce.weight", "primary.0.weight", "primary.4.weight", "query_key_value.weight"}
    assert len(ReliabilityHead(12, 7, 3, correction="anchors").inner_weights) == 3
    assert LinearHead(12, 7).inner_weights == ()
    settings = override(TrainSettings(), ["optimizer=muon", "learning_rate=0.5"])
    rates = dict.fromkeys(head.parameters(), 0.1) | {head.anchors: 3.0}
    found = make_optimizer(head, head.inner_weights, settings, rates)
    assert isinstance(found, MuonWithAdamW)
    assert {names[id(parameter)] for parameter in found.weights} == inner
    set_learning_rate(found, 0.2)
    for group in found.param_groups:
        for parameter in group["params"]:
            assert group["lr"] == pytest.approx(0.6 if parameter is head.anchors else 0.02)
    before = {name: parameter.detach().clone() for name, parameter in head.named_parameters()}
    head(torch.randn(32, 12)).corrected.sum().backward()
    found.step()
    moved = float((head.reduce.weight.detach() - before["reduce.weight"]).norm())
    # Steps of Muon are as long as those of AdamW are on average: 0.2 times the learning rate per weight (2502.16982).
    assert moved == pytest.approx(0.2 * 0.02 * math.sqrt(128 * 12), rel=0.35)

"""Parameters, multiply-adds and memory, against numbers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from arbex.cli import invoke
from arbex.models import BASE, Encoder, ExpressionClassifier, LinearHead
from arbex.models.cost import PeakMemory, measure_cost
from arbex.spec import Preprocessing


class Toy(nn.Module):
    """A convolution of 8x8 pixels and an average."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).mean((2, 3))  # type: ignore[no-any-return]


def test_a_convolution_and_a_linear_layer_by_hand() -> None:
    model = ExpressionClassifier(Toy(), LinearHead(4, 2), ("a", "b"), Preprocessing(8))
    cost = measure_cost(model)
    by_part = {part.part: (part.parameters, part.macs) for part in cost.parts}
    assert by_part == {"encoder.conv": (4 * 27 + 4, 4 * 27 * 64), "head": (4 * 2 + 2, 8)}
    assert cost.weight_bytes == 4 * (112 + 10)
    assert cost.activation_bytes >= 4 * 4 * 64


def test_memory_counts_what_lives_at_once() -> None:
    with PeakMemory() as memory:
        x = torch.ones(1000)  # 4,000 bytes
        for _ in range(5):
            x = x * 2  # old and new live together
        del x
    assert memory.peak == 8000
    assert sum(memory.live.values()) == 0


def test_base_costs_what_the_public_network_does_without_what_nothing_reads() -> None:
    config = BASE
    model = ExpressionClassifier(Encoder(config), LinearHead(768, 7), tuple("abcdefg"), Preprocessing(224))
    cost = measure_cost(model)
    assert cost.parameters == pytest.approx(43.75e6, rel=1e-3)
    # In the last block of the transformer: scores and sums of attention, and three linear layers, of all but one token.
    unread = 147 * (2 * 148 * 768 + 768 * 768 + 2 * 768 * 3072)
    assert cost.macs + unread == pytest.approx(8.59e9, rel=0.002)
    macs = {part.part: part.macs for part in cost.parts}
    assert macs["encoder.reduce"] == 9 * (64**2 * 28**2 + 128**2 * 14**2 + 256**2 * 7**2)
    assert macs["encoder.levels"] > 0
    assert macs.get("other", 0) == 0


def test_inspect_shows_the_cost_of_a_run(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["inspect", str(run)], "arbex") == 0
    shown = capfd.readouterr().out
    for word in ("encoder.image", "encoder.landmarks", "head", "MMAC", "memory at batch 1"):
        assert word in shown
    assert invoke(["inspect", str(run), "--json"], "arbex") == 0
    value = json.loads(capfd.readouterr().out)
    assert value["parameters"] == sum(part["parameters"] for part in value["cost"]["parts"])
    assert 0 < value["parameters"] <= 0.4e6

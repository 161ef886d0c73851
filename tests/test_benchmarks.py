"""Benchmarks: that of drawing runs, and networks that are compared have the same size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from arbex.api import evaluate
from arbex.methods import METHODS
from arbex.models import PRESETS, CompactConfig, CompactEncoder
from arbex.settings import PRESET_SETTINGS, override
from benchmarks import encoder_variants, networks
from benchmarks.ablations import CHANGES, CURVES, Change
from benchmarks.edge import drawing
from benchmarks.networks import NETWORKS, SIDE
from benchmarks.presets import COMMON, RATES
from benchmarks.selectors import USUAL, Signals, measured


@pytest.mark.slow
def test_the_drawing_benchmark_prints_its_figure(capsys: pytest.CaptureFixture[str]) -> None:
    speed = drawing(images=210, runs=1)
    assert capsys.readouterr().out == f"drawing: {speed:.0f} images/s on one core, PNG files included\n"
    assert speed > 20


def macs(module: nn.Module) -> int:
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module.eval()(torch.zeros(1, 3, SIDE, SIDE))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_that_are_compared_have_as_many_multiply_adds_as_their_preset(network: str) -> None:
    config = PRESETS[network.rpartition("-")[2]]
    assert isinstance(config, CompactConfig)
    ours = macs(CompactEncoder(replace(config, image_size=SIDE, window=SIDE // 8)))
    theirs: nn.Module = getattr(networks, network.replace("-", "_"))()
    assert macs(theirs) == pytest.approx(ours, rel=0.04)


@pytest.mark.parametrize("variant", encoder_variants.VARIANTS)
def test_variants_of_the_encoder_map_images_to_vectors(variant: str) -> None:
    module: nn.Module = getattr(encoder_variants, variant.replace("-", "_"))()
    vectors = module(torch.zeros(2, 3, SIDE, SIDE))
    assert vectors.ndim == 2
    assert len(vectors) == 2


@pytest.mark.parametrize("change", CHANGES[1:], ids=lambda change: change.words)
def test_an_ablation_changes_what_can_be_changed(change: Change) -> None:
    assert change[1:] != CHANGES[0][1:]
    assert change.network in {*PRESETS, *NETWORKS, *encoder_variants.VARIANTS}
    assert change.method in METHODS
    assert change.optimizer in RATES
    common = override(PRESET_SETTINGS["tiny"], COMMON)
    assert not change.settings or override(common, change.settings) != common


def test_every_learning_curve_is_that_of_a_change() -> None:
    assert set(CURVES) <= {change.words for change in CHANGES}


def test_signals_are_judged_by_the_order_they_give_to_the_answers() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    parts = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 1]])
    signals = Signals(probabilities, parts, np.array([0, 1, 1]), {}, {})  # the second answer is wrong
    assert signals.right.tolist() == [True, False, True]
    assert signals.risk(np.array([2.0, 1.0, 3.0])) == pytest.approx((0 + 0 + 1 / 3) / 3)
    assert signals.risk(np.array([2.0, 3.0, 1.0])) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_the_best_choice_among_the_parts_is_right_wherever_one_of_them_is() -> None:
    parts = np.array([[0, 1, 1, 0], [1, 0, 0, 1]])
    signals = Signals(np.eye(2)[[0, 0, 0, 1]], parts, np.array([0, 0, 1, 0]), {}, {})
    assert list(signals.accuracies().values()) == [3 / 4, 1 / 2, 1]


@pytest.mark.slow
def test_the_usual_signal_is_the_confidence_of_the_evaluation(run: Path, faces: Path) -> None:
    accuracies, found = measured(run, str(faces))
    evaluation = evaluate(str(run), str(faces))
    assert list(accuracies.values())[:2] == [evaluation.primary.accuracy, evaluation.corrected.accuracy]
    assert found[USUAL] == pytest.approx(evaluation.corrected.aurc, abs=1e-6)
    assert all(0 <= risk < 1 for risk in found.values())

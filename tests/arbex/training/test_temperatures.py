"""Temperatures: fitted to labels that were drawn from known probabilities, and stored with a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

import arbex
from arbex.checkpoint import BEST, Calibration, load_run, open_run, read_metadata, read_weights, write_weights
from arbex.errors import RunError
from arbex.evaluation.runs import evaluate
from arbex.methods import load_method, read_options
from arbex.models.head import Evidence, LinearHead, ReliabilityHead, Temperatures
from arbex.settings import override
from arbex.training.calibrating import confidence_threshold
from arbex.training.loop import train
from arbex.training.temperatures import LARGEST, fit_temperatures
from tests.arbex.training.test_loop import QUICK, request
from tests.reporters import Lines


def drawn(logits: Tensor) -> Tensor:
    """Labels drawn from the softmax of logits [n, N]."""
    return torch.multinomial(logits.softmax(-1), 1).squeeze(-1)


@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_the_factor_by_which_logits_are_too_large_is_found(factor: float) -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000, 5)
    found = fit_temperatures(LinearHead(4, 5), Evidence(factor * logits, logits), drawn(logits))
    assert found.primary == pytest.approx(factor, rel=0.03)
    assert found == Temperatures(primary=found.primary)  # a head without correction has no others


def test_each_part_is_calibrated_by_itself_and_their_mixture_after_them() -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000, 5)
    labels = drawn(logits)
    head = ReliabilityHead(4, 5, anchors=1).eval()
    # With one anchor per class, the anchor correction is the softmax of the closeness.
    evidence = Evidence(3 * logits, logits, closeness=(0.5 * logits).unsqueeze(-1), attentive=2 * logits)
    found = fit_temperatures(head, evidence, labels)
    assert list(found[:3]) == pytest.approx([3, 0.5, 2], rel=0.03)
    assert found.mixture == pytest.approx(1, rel=0.03)  # three times the same, calibrated distribution


def test_a_mixture_of_unlike_calibrated_parts_is_sharpened() -> None:
    torch.manual_seed(0)
    one, other = 2 * torch.randn(2, 20_000, 5)
    labels = drawn(one + other)  # both parts know something, and their mean is less certain than both together
    head = ReliabilityHead(4, 5, anchors=0).eval()
    assert fit_temperatures(head, Evidence(one, one, attentive=other), labels).mixture < 0.9


def test_a_few_right_answers_do_not_make_a_model_certain() -> None:
    logits = torch.eye(3).repeat(4, 1)
    found = fit_temperatures(LinearHead(4, 3), Evidence(logits, logits), logits.argmax(-1))
    assert found.primary > 2 / LARGEST


@pytest.mark.parametrize(
    ("options", "anchors", "expected"),
    [
        ({}, 2, ("primary", "geometric", "attentive", "mixture")),
        ({}, 0, ("primary", "attentive", "mixture")),
        ({"correction": "anchors"}, 2, ("primary", "geometric", "mixture")),
        ({"correction": "none"}, 2, ("primary",)),
    ],
)
def test_only_what_a_head_has_gets_a_temperature(
    options: dict[str, str], anchors: int, expected: tuple[str, ...]
) -> None:
    assert load_method("arbex", read_options("arbex", options)).build_head(4, 3, anchors=anchors).tempered == expected


def test_the_share_of_answers_that_suffice_is_as_asked_for() -> None:
    confidences = torch.arange(10) / 10
    assert confidence_threshold(confidences, 1.0) is None
    for coverage, threshold in ((0.9, 0.0), (0.7, 0.2), (0.5, 0.4)):
        found = confidence_threshold(confidences, coverage)
        assert found == pytest.approx(threshold)
        assert found is not None
        assert (confidences.double() >= found).double().mean() >= coverage


def test_a_trained_run_is_calibrated_and_says_so(faces: Path, tmp_path: Path) -> None:
    said = Lines()
    settings = override(QUICK, ["coverage=0.8"])
    train(replace(request(faces, tmp_path / "run"), settings=settings), report=said)
    run = open_run(tmp_path / "run")
    assert all(value != 1 for value in run.calibration.temperatures)
    assert load_run(tmp_path / "run").head.temperatures == run.calibration.temperatures
    assert any(line.startswith("calibrated on validation (calibrate): NLL ") for line in said.lines)
    assert any("count as unsure (coverage)" in line for line in said.lines)
    found = evaluate(str(tmp_path / "run"), str(faces), "val")
    assert found.threshold == run.calibration.threshold
    assert found.coverage == pytest.approx(0.8, abs=0.02)
    assert found.corrected.accuracy == pytest.approx(run.accuracy, abs=1e-6)
    # Without the temperatures, the labels of the same images are less likely.
    plain = tmp_path / "plain"
    train(replace(request(faces, plain), settings=override(settings, ["calibrate=false", "coverage=1"])))
    assert open_run(plain).calibration == Calibration(done=True)
    weights, same = read_weights(plain / BEST), read_weights(tmp_path / "run" / BEST)
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert evaluate(str(plain), str(faces), "val").corrected.nll > found.corrected.nll


def test_weights_of_a_training_that_has_not_ended_are_used_with_a_warning(faces: Path, tmp_path: Path) -> None:
    run, said = tmp_path / "run", Lines()
    train(request(faces, run))
    assert open_run(run).warnings == []
    metadata = {name: text for name, text in read_metadata(run / BEST).items() if name not in Calibration.NAMES}
    write_weights(run / BEST, read_weights(run / BEST), metadata)
    evaluate(str(run), str(faces), "val", report=said)
    arbex.export(run, ["cpu"], precisions=["fp32"], out=tmp_path / "bundles", report=said)
    warnings = [line for line in said.lines if "is not calibrated, since its training has not come to its end" in line]
    assert len(warnings) == 2
    train(replace(request(faces, run), resume=True))
    assert open_run(run).warnings == []


def test_a_finished_run_is_calibrated_anew_by_resuming_it(faces: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = override(QUICK, ["calibrate=false"])
    state = train(replace(request(faces, run), settings=settings))
    assert open_run(run).calibration.temperatures == Temperatures()
    again = replace(request(faces, run), settings=override(QUICK, ["coverage=0.5"]), resume=True)
    assert train(again) == state
    first = open_run(run)
    assert first.calibration.temperatures != Temperatures()
    assert first.calibration.threshold is not None
    train(replace(again, settings=override(QUICK, ["coverage=1"])))
    assert open_run(run).calibration == replace(first.calibration, threshold=None)


@pytest.mark.parametrize(
    "metadata",
    [
        {"temperatures": "[0.0, 1.0, 1.0, 1.0]"},
        {"temperatures": "[NaN, 1.0, 1.0, 1.0]"},
        {"temperatures": "[1, 1, 1, 1, 1]"},
        {"temperatures": '"abc"'},
        {"temperatures": "{"},
        {"threshold": "1.5"},
        {"threshold": "high"},
    ],
)
def test_damaged_metadata_are_refused(run: Path, tmp_path: Path, metadata: dict[str, str]) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_bytes((run / "config.json").read_bytes())
    write_weights(copy / BEST, read_weights(run / BEST), read_metadata(run / BEST) | metadata)
    with pytest.raises(RunError, match=r"best\.safetensors is damaged"):
        load_run(copy)


def test_runs_of_earlier_versions_have_no_temperatures(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "config.json").write_bytes((run / "config.json").read_bytes())
    write_weights(copy / BEST, read_weights(run / BEST), {"epoch": "3", "val_accuracy": "0.5"})
    assert load_run(copy).head.temperatures == Temperatures()
    with safe_open(str(copy / BEST), framework="pt") as stream:
        assert set(stream.metadata()) == {"epoch", "val_accuracy"}

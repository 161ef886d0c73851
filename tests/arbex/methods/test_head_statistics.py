"""What a training logs of a reliability head, against numbers worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from arbex.methods.head_statistics import anchor_movement, describe_parts, effective_anchors, weights_of
from arbex.models.distributions import mix
from arbex.models.head import Evidence, ReliabilityHead, Temperatures
from arbex.settings import override
from arbex.training.loop import train
from tests.arbex.training.test_loop import QUICK, request


def logits(*rows: list[float]) -> Tensor:
    """Logits of these probabilities."""
    return torch.tensor(rows).log()


def test_repaired_and_spoiled_images_are_counted() -> None:
    # Two classes. Parts: primary unsure, corrections certain. Labels: 0, 0, 1, 1.
    primary = logits([0.45, 0.55], [0.55, 0.45], [0.45, 0.55], [0.55, 0.45])
    correction = logits([0.95, 0.05], [0.05, 0.95], [0.05, 0.95], [0.95, 0.05])
    labels = torch.tensor([0, 0, 1, 1])
    evidence = Evidence(primary, primary, closeness=correction.unsqueeze(-1), attentive=correction)
    head = ReliabilityHead(2, 2, anchors=1).eval()
    found = describe_parts(head.balance(evidence, Temperatures()), evidence, labels)
    # The first is repaired, the second spoiled; the third is right and the last wrong before and after.
    assert (found["repaired"], found["spoiled"]) == (0.25, 0.25)
    assert found["agreement"] == 0.5
    assert found["like_equal_weights"] == 1
    assert (found["accuracy_primary"], found["accuracy_geometric"]) == (0.5, 0.5)
    # C(.95, .05) = .71360, C(.55, .45) = .00722: the primary one has .00722 / .72083, the others half of the rest each
    assert found["weight_primary"] == pytest.approx(0.01002, abs=1e-4)
    assert found["weight_geometric"] == pytest.approx((1 - 0.01002) / 2, abs=1e-4)
    assert found["effective_anchors"] == 1


def test_equal_weights_are_logged_as_such() -> None:
    primary, correction = logits([0.45, 0.55], [0.55, 0.45]), logits([0.95, 0.05], [0.05, 0.95])
    evidence = Evidence(primary, primary, attentive=correction)
    head = ReliabilityHead(2, 2, correction="attention", weights="equal").eval()
    found = describe_parts(head.balance(evidence, Temperatures()), evidence, torch.tensor([0, 1]), equal=True)
    assert (found["weight_primary"], found["weight_attentive"]) == (0.5, 0.5)
    assert found["like_equal_weights"] == 1


def test_the_weights_are_those_of_the_mixture() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(50, 5).log_softmax(-1) for _ in range(3)]
    weights = weights_of(parts)
    assert torch.allclose(torch.stack(weights).sum(0), torch.ones(50))
    mixed = torch.stack([w[:, None] * part.exp() for w, part in zip(weights, parts, strict=True)]).sum(0)
    assert torch.allclose(mixed, mix(parts[0], mix(*parts[1:])).exp(), atol=1e-4)


def test_anchors_that_are_never_nearest_do_not_count() -> None:
    # Class 0: anchors 0 and 1 are nearest twice each, so that 2 of 3 are in use; class 1: always the last.
    near = torch.full((6, 2, 3), -9.0)
    for i, (label, anchor) in enumerate([(0, 0), (0, 1), (0, 0), (0, 1), (1, 2), (1, 2)]):
        near[i, label, anchor] = -1.0
    assert effective_anchors(near, torch.tensor([0, 0, 0, 0, 1, 1])) == pytest.approx((2 + 1) / 2)


def test_movement_of_anchors_by_hand() -> None:
    start = torch.zeros(2, 2, 2)
    now = torch.tensor([[[3.0, 0.0], [3.0, 0.0]], [[0.0, 4.0], [0.0, 4.0]]])
    # moved by 3, 3, 4 and 4; centers (3, 0) and (0, 4) are 5 apart
    assert anchor_movement(start, now) == {"anchor_displacement": 3.5, "class_distance": 5.0}


def test_every_epoch_logs_what_the_head_does_and_resuming_keeps_where_anchors_started(
    faces: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(request(faces, whole, epochs=3))
    settings = override(QUICK, ["epochs=3"])
    train(request(faces, parts, epochs=2))
    train(replace(request(faces, parts), settings=settings, resume=True))
    first, second = ([json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
                     for run in (whole, parts))  # fmt: skip
    for epoch in first:
        weights = [epoch[f"head_weight_{name}"] for name in ("primary", "geometric", "attentive")]
        assert sum(weights) == pytest.approx(1)
        assert 1 <= epoch["head_effective_anchors"] <= 10
        gained = epoch["val_accuracy"] - epoch["head_accuracy_primary"]
        assert gained == pytest.approx(epoch["head_repaired"] - epoch["head_spoiled"], abs=1e-6)
    moved = [epoch["head_anchor_displacement"] for epoch in first]
    assert 0 < moved[0] < moved[1] < moved[2]
    assert second[-1]["head_anchor_displacement"] > moved[0]


def test_methods_without_parts_log_nothing_of_their_head(faces: Path, tmp_path: Path) -> None:
    train(replace(request(faces, tmp_path / "run", epochs=1), method="poster"))
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert not [name for name in json.loads(line) if name.startswith("head_")]

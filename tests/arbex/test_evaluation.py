"""Metrics against a confusion worked out by hand."""

from __future__ import annotations

import json
import math

import pytest
import torch

from arbex.evaluation import Evaluation, scores


def test_scores_of_four_images() -> None:
    p = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.3, 0.7, 0.0], [0.6, 0.4, 0.0]])
    labels = torch.tensor([0, 0, 1, 1])
    s = scores(p, labels, ("a", "b", "never"))
    assert s.accuracy == 0.75
    # recall 2/2 and 1/2; precision 2/3 and 1/1; f1 .8 and 2/3; the class that never occurs does not count
    assert s.balanced_accuracy == 0.75
    assert s.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert s.nll == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.7) + math.log(0.4)) / 4, abs=1e-6)
    # confidences .9 .8 .7 .6, right 1 1 1 0: gaps .1 .2 .3 .6 in four bins of one image each
    assert s.ece == pytest.approx((0.1 + 0.2 + 0.3 + 0.6) / 4, abs=1e-6)
    b = s.per_class["b"]
    assert (b.precision, b.recall, b.n) == (1.0, 0.5, 2)
    assert b.f1 == pytest.approx(2 / 3)
    assert s.per_class["never"].n == 0


def test_a_certain_mistake_has_a_finite_likelihood() -> None:
    s = scores(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 1]), ("a", "b"))
    assert math.isfinite(s.nll)


def test_the_json_has_the_keys_of_the_interface_and_reads_back() -> None:
    """Scripts and earlier results rely on these keys and their order."""
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    corrected, primary = scores(p, torch.tensor([0, 1]), ("a", "b")), scores(p, torch.tensor([1, 1]), ("a", "b"))
    found = Evaluation(corrected=corrected, primary=primary, std_primary=0.25, std_corrected=0.5, n=2)
    value = json.loads(json.dumps(found.to_json()))
    each = ["accuracy", "balanced_accuracy", "macro_f1", "ece", "nll", "confusion", "per_class"]
    assert list(value) == [*each, "primary", "std_primary", "std_corrected", "n"]
    assert list(value["primary"]) == each
    assert value["per_class"]["a"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 1}
    assert (value["accuracy"], value["primary"]["accuracy"]) == (1.0, 0.5)
    assert value["primary"]["confusion"] == [[0, 0], [1, 1]]
    assert (value["std_primary"], value["std_corrected"], value["n"]) == (0.25, 0.5, 2)
    assert Evaluation.from_json(value) == found

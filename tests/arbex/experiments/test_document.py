"""What an experiment leaves in its JSON file."""

from __future__ import annotations

import json

import pytest
import torch

from arbex.evaluation.scores import Evaluation, scores
from arbex.experiments.document import figures_text
from arbex.experiments.plan import BUDGETS, Outcome, Report, Results

REPEATED = {"confusion", "per_class", "ci95", "groups", "worst_group"}


@pytest.fixture
def text() -> str:
    """The JSON file of one run, and of a difference with its interval."""
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    corrected = scores(p, torch.tensor([0, 1]), ("a", "b"), groups=["anna", "ben"])
    found = Evaluation(corrected=corrected, primary=corrected, std_primary=0.25, std_corrected=0.5, n=2)
    outcome = Outcome(setting="ours", seed=0, scores=found, best_epoch=1, curve=(1 / 3,), head=(), seconds=2.0,
                      commands=("arbex train",), run="runs/ours")  # fmt: skip
    report = Report(title="Gain", body="", figures={"gain": {"mean": 2 / 3, "ci95": [-1 / 3, 1.0]}})
    return figures_text("gain", report, Results([outcome]), BUDGETS["small"], "arbex experiment gain")


def test_figures_keep_the_intervals_that_no_single_run_holds(text: str) -> None:
    assert json.loads(text)["figures"] == {"gain": {"mean": 0.666667, "ci95": [-0.333333, 1.0]}}


def test_a_run_leaves_out_what_evaluation_computes_again(text: str) -> None:
    (run,) = json.loads(text)["runs"]
    assert not REPEATED & {*run["scores"], *run["scores"]["primary"]}
    assert (run["scores"]["accuracy"], run["curve"], run["commands"]) == (1.0, [0.333333], ["arbex train"])


def test_a_run_is_one_line(text: str) -> None:
    assert sum('"setting": "ours"' in line for line in text.splitlines()) == 1
    (line,) = (line for line in text.splitlines() if '"setting": "ours"' in line)
    assert json.loads(line)["seed"] == 0

"""Groups of images: figures by hand, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from arbex.cli import invoke
from arbex.evaluation.metrics import judge
from arbex.evaluation.subgroups import measure_groups


def test_the_worst_group_by_hand() -> None:
    # Group a: 3 of 4 right; group b: 1 of 4. One person each, but for the last image of b.
    p = np.tile([0.9, 0.1], (8, 1))
    labels = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    names = np.array(["g=a"] * 4 + ["g=b"] * 4)
    found, worst = measure_groups(judge(p, p.max(-1), labels), names, [""] * 8)
    assert (found["g=a"].accuracy, found["g=b"].accuracy) == (0.75, 0.25)
    assert (found["g=a"].n, found["g=a"].balanced_accuracy) == (4, 0.5)
    assert found["g=b"].ece == pytest.approx(0.65)
    low, high = found["g=b"].accuracy_ci95
    assert low == 0
    assert high >= 0.5
    assert (worst.name, worst.accuracy) == ("g=b", 0.25)
    assert worst.ci95[1] <= high


def test_images_of_one_person_widen_the_interval() -> None:
    """Of 40 people, half are always recognized and half never: ten images of each tell no more than one."""
    labels = np.repeat(np.arange(40) % 2, 10)
    p = np.tile([0.9, 0.1], (400, 1))
    names, people = np.array(["all"] * 400), [str(person) for person in np.repeat(np.arange(40), 10)]
    answers = judge(p, p.max(-1), labels)
    alone, together = (measure_groups(answers, names, who)[0]["all"].accuracy_ci95 for who in ([""] * 400, people))
    assert together[1] - together[0] > 2.5 * (alone[1] - alone[0])


def test_a_group_of_one_person_has_an_interval_over_images() -> None:
    """Resampling people would draw the same images every time, and the interval would have no width."""
    labels = np.tile([0, 1], 40)
    p = np.tile([0.9, 0.1], (80, 1))
    people = [str(person) for person in np.repeat(np.arange(4), 20)]
    names = np.array([f"subject={person}" for person in people])
    found, worst = measure_groups(judge(p, p.max(-1), labels), names, people)
    assert all(each.accuracy_ci95[0] < 0.4 and each.accuracy_ci95[1] > 0.6 for each in found.values())
    assert worst.ci95[0] < worst.ci95[1] < 0.6


def test_evaluate_groups_images_by_a_column(run: Path, faces: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", str(run), "--data", str(faces), "--by", "subject"]
    assert invoke([*command, "--json"], "arbex") == 0
    found = json.loads(capfd.readouterr().out)
    assert sum(group["n"] for group in found["groups"].values()) == found["n"]
    right = sum(group["n"] * group["accuracy"] for group in found["groups"].values())
    assert right / found["n"] == pytest.approx(found["accuracy"])
    assert found["worst_group"]["accuracy"] == min(group["accuracy"] for group in found["groups"].values())
    assert invoke(command, "arbex") == 0
    shown = capfd.readouterr().out
    assert f"worst: {found['worst_group']['name']}; the lowest accuracy of a group is" in shown


def test_a_column_that_is_not_there_is_refused(run: Path, faces: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["evaluate", str(run), "--data", str(faces), "--by", "age"], "arbex") == 2
    assert "cannot group images by 'age'" in capfd.readouterr().err
    assert invoke(["evaluate", str(run), "--data", f"jaffe:{faces}", "--by", "age"], "arbex") == 2
    assert "--by age needs the layout 'folder', not 'jaffe'" in capfd.readouterr().err

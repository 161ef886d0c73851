"""Experiments end to end: trained, resumed, written."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from arbex.checkpoint import read_weights
from arbex.cli import invoke
from arbex.errors import DataError, InputError, RunError, UnsupportedError
from arbex.experiments import EXPERIMENTS, load_experiment, run_experiment
from arbex.experiments.plan import BUDGETS, Budget, Setting
from arbex.experiments.runner import Job, perform, plan_jobs, read_outcome
from arbex.methods import METHODS
from arbex.progress import Reporter, Step
from arbex.settings import PRESET_SETTINGS, override
from arbex.training.arguments import check_effect

TINY = Budget(preset="tiny", epochs=1, seeds=2, grid=False, assignments=("images_per_class=4", "batch_size=14"))


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run takes as many threads as there are cores, and torch keeps that number: all later tests would have it."""
    monkeypatch.setattr("arbex.experiments.runner.os.cpu_count", lambda: 1)


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Step]:
        yield lambda done: self.steps.append((label, done, total))


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("budget", BUDGETS)
def test_settings_have_names_of_their_own_and_can_be_trained(name: str, budget: str, tmp_path: Path) -> None:
    chosen = BUDGETS[budget]
    settings = load_experiment(name).settings(chosen)
    assert settings
    assert len({setting.name for setting in settings}) == len(settings)
    assert {setting.method for setting in settings} <= set(METHODS)
    jobs = plan_jobs(settings, chosen, "data", tmp_path, 2)
    assert len({job.run for job in jobs}) == len(jobs) == chosen.seeds * len(settings)
    assert {job.teacher for job in jobs} - {None} <= {job.run for job in jobs if job.teacher is None}
    for job in jobs:
        assert shlex.split(job.commands[0])[:2] == ["arbex", "train"]
        check_effect(given(job), job.settings.to_json() | job.options.to_json(), teacher=True)


def given(job: Job) -> list[str]:
    """Returns the settings in the command of a run."""
    return [value for name, value in itertools.pairwise(shlex.split(job.commands[0])) if name == "--set"]


def test_commands_leave_out_what_has_no_effect(tmp_path: Path) -> None:
    budget = replace(TINY, assignments=("images_per_class=5", "sampling=natural", "label_noise_kind=look-alike"))
    (job, *_) = plan_jobs([Setting("a", assignments=("label_smoothing=0",))], budget, "data", tmp_path, 1)
    assert given(job) == ["sampling=natural", "label_smoothing=0.0"]


def test_a_method_that_needs_a_teacher_has_one_that_is_trained_before(tmp_path: Path) -> None:
    jobs = plan_jobs(load_experiment("table-5").settings(TINY), TINY, "data", tmp_path, 1)
    taught = [job for job in jobs if job.teacher]
    assert {job.setting.method for job in taught} == {"efficientface"}
    runs = [job.run for job in jobs]
    assert all(job.teacher in runs for job in taught)


def test_the_grids_are_the_papers() -> None:
    # One row more than the paper has: its K = 0 has no correction, ours attention alone.
    assert len(load_experiment("table-1").settings(BUDGETS["full"])) == 10 + 1
    assert len(load_experiment("table-2").settings(BUDGETS["full"])) == (11 + 1) * 10
    assert len(load_experiment("table-3").settings(BUDGETS["full"])) == (11 + 1) * 12
    assert len(load_experiment("table-5").settings(BUDGETS["full"])) == len(METHODS) + 1


def test_a_method_can_have_settings_of_its_own(tmp_path: Path) -> None:
    texts = ("label_smoothing=0.2", "arbex:label_smoothing=0.1", "arbex:weights=equal", "poster:mixup=0.3")
    budget = replace(TINY, assignments=texts)
    jobs = plan_jobs([Setting("a"), Setting("b", method="poster")], budget, "data", tmp_path, 1)
    ours, linear = jobs[:2]
    assert (ours.settings.label_smoothing, ours.settings.mixup, ours.options.to_json()["weights"]) == (
        0.1,
        0.0,
        "equal",
    )
    assert (linear.settings.label_smoothing, linear.settings.mixup) == (0.2, 0.3)
    assert "arbex:" not in " ".join((*ours.commands, *linear.commands))
    assert given(ours) == ["label_smoothing=0.2", "label_smoothing=0.1", "weights=equal"]
    unknown = replace(budget, assignments=("arbex:hiden=3",))
    with pytest.raises(UnsupportedError, match="'hiden' is not known.* gradient_clip, .*hidden, "):
        plan_jobs([Setting("ours")], unknown, "data", tmp_path, 1)[0].settings  # noqa: B018
    with pytest.raises(UnsupportedError, match="method 'arbx' is not known. Allowed: arbex"):
        replace(TINY, assignments=("arbx:mixup=0.3",))


def test_another_encoder_is_trained_as_the_budgets_preset_is(tmp_path: Path) -> None:
    job = Job(
        setting=Setting("older", method="poster", preset="poster-v1", assignments=("label_smoothing=0",)),
        seed=3,
        budget=replace(TINY, image_size=48),
        data="data",
        runs=tmp_path,
        threads=1,
    )
    usual = replace(job, setting=Setting("usual", method="poster"))
    assert (usual.preset, usual.image_size, job.image_size) == ("tiny", 48, 64)  # the next multiple of 32
    assert job.settings == replace(usual.settings, label_smoothing=0)
    assert job.run.name == "poster-poster-v1-label_smoothing=0.0-seed=3"
    words = shlex.split(job.commands[0])
    assert words[words.index("--preset") + 1] == "poster-v1"
    own = override(PRESET_SETTINGS["poster-v1"], ["seed=3", "epochs=1", *given(job)])
    assert own == job.settings
    assert "optimizer=muon" in given(job)
    assert not {"optimizer=muon", "optimizer=adamw"} & set(shlex.split(usual.commands[0]))


@pytest.mark.slow
def test_the_row_of_poster_in_table_5_is_trained(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from arbex.experiments import tables

    monkeypatch.setattr(tables, "METHODS", {"poster": METHODS["poster"]})
    budget = Budget(preset="base", epochs=1, seeds=1, grid=False, image_size=64, assignments=("images_per_class=2",))
    text = run_experiment("table-5", str(faces), tmp_path, budget).read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| poster")]
    assert [row[0] for row in rows] == ["| poster", "| poster-v1"]
    assert rows[1][-1].startswith("68.83 / 92.05")
    stored = json.loads((tmp_path / "runs" / budget.name / "poster-poster-v1-seed=0" / "config.json").read_text())
    assert stored["encoder"]["image_size"] == 64
    assert "token_mixing" in stored["encoder"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table-1", "fig-5", "fig-6", "gain", "tcl", "nla"])
def test_an_experiment_writes_its_table_its_data_and_its_plots(name: str, faces: Path, tmp_path: Path) -> None:
    document = run_experiment(name, str(faces), tmp_path, replace(TINY, seeds=1), command="arbex experiment …")
    text = document.read_text()
    assert "arbex experiment …" in text
    content = (tmp_path / f"{name}.json").read_text()
    stored = json.loads(content)
    assert all('"commands": ' in line for line in content.splitlines()[-2 - len(stored["runs"]) : -2])  # one per line
    assert '"per_class"' not in content  # most of the file, and in every run
    settings = load_experiment(name).settings(TINY)
    assert {run["setting"] for run in stored["runs"]} == {setting.name for setting in settings}
    cells = {cell.strip() for line in text.splitlines() if line.startswith("|") for cell in line.split("|")}
    for run in stored["runs"]:
        if name == "fig-5":
            shown = {f"{run['scores'][key]:.4f}" for key in ("std_primary", "std_corrected")}
        elif name == "fig-6":
            shown = {f"{stored['figures'][run['setting']]['davies_bouldin']['mean']:.3f}"}
        else:
            shown = {f"{100 * run['scores']['accuracy']:.2f}"}
        assert shown <= cells
    assert all("arbex train" in run["commands"][0] for run in stored["runs"])
    if name != "fig-5":  # nothing may have been repaired
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_experiments_share_runs(tmp_path: Path) -> None:
    """A run is named after what is trained, whichever table it is for and however that table writes it."""
    runs = {
        name: {job.run for job in plan_jobs(load_experiment(name).settings(TINY), TINY, "data", tmp_path, 1)}
        for name in EXPERIMENTS
    }
    folder = tmp_path / "runs" / TINY.name
    assert TINY.name.startswith("tiny-1-epochs-")
    assert replace(TINY, assignments=("images_per_class=5",)).name != TINY.name
    # Tables 1 and 2 do not smooth labels, and these compare variants of one other method with the softmax classifier.
    without_arbex = {"tcl", "nla"}
    others = {name for name in runs if folder / "arbex-K=10-seed=0" not in runs[name]}
    assert others == without_arbex | {"table-1", "table-2"}
    assert folder / "arbex-K=10-label_smoothing=0.0-seed=0" in runs["table-1"] & runs["table-2"] & runs["table-3"]
    assert folder / "arbex-K=10-correction=none-seed=0" in runs["head"]
    assert folder / "arbex-K=10-label_smoothing=0.0-correction=none-seed=0" in runs["table-1"] & runs["table-3"]
    assert all(folder / "poster-seed=0" in runs[name] for name in without_arbex | {"gain", "table-5"})
    assert folder / "arbex-K=0-label_smoothing=0.0-label_noise=0.2-seed=0" in runs["table-2"]
    assert folder / "poster-label_noise=0.2-seed=0" in runs["gain"]
    assert len(runs["fig-6"] - runs["table-5"]) == 0


@pytest.mark.slow
def test_the_head_experiment_shows_answers_parts_and_curves(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arbex.experiments import head

    few = load_experiment("head").settings(TINY)
    assert {setting.name for setting in few} == {head.LINEAR, *head.FEW} - {head.FLAT}  # that is usual for the preset
    monkeypatch.setattr(head, "READINGS", {head.OURS: (), "anchors start apart": ("anchor_start=spread",)})
    names = ("attention alone corrects", "equal weights")
    monkeypatch.setattr(head, "CONTROLS", {name: head.CONTROLS[name] for name in names})
    document = run_experiment("head", str(faces), tmp_path, replace(TINY, epochs=2, grid=True)).read_text()
    first, second = ([line for line in part.splitlines() if line.startswith("| ")]
                     for part in (document.split("| head | repaired %")[0], document.split("---|\n")[-1]))  # fmt: skip
    readings = [*head.READINGS, "losses of the mixture alone", head.DEEP]
    table = {row.split(" | ")[0].removeprefix("| "): row.split(" | ") for row in first[1:]}
    assert list(table) == [head.LINEAR, *readings, *names, head.WIDE]
    ours, wide = (int(table[name][1].replace(",", "")) for name in (head.OURS, head.WIDE))
    assert ours <= wide < 1.02 * ours
    parts = {row.split(" | ")[0].removeprefix("| "): row.split(" | ") for row in second}
    assert list(parts) == [*readings, *names]  # a head without correction has no parts
    assert sum(float(each) for each in parts[head.OURS][6].split(", ")) == pytest.approx(1, abs=0.02)
    assert parts["equal weights"][6] == "0.33, 0.33, 0.33"
    assert [parts["attention alone corrects"][column].split(", ")[1] for column in (5, 6)] == ["-", "-"]  # no anchors
    stored = json.loads((tmp_path / "head.json").read_text())
    ours = stored["figures"][head.OURS]
    linear = stored["figures"][head.LINEAR]["accuracy"]["mean"]
    assert ours["gain"]["mean"] == pytest.approx(ours["accuracy"]["mean"] - linear, abs=1e-5)  # of rounded figures
    low, high = ours["gain"]["ci95"]
    assert low <= ours["gain"]["mean"] <= high
    assert 0 < ours["gain"]["p_value"] <= 1
    assert table[head.LINEAR][3:6] == ["", "", ""]  # the linear classifier against itself
    assert len(stored["runs"][1]["head"]) == 2
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("head.png", "head-epochs.png"))


def test_regimes_differ_from_what_is_given_in_one_setting_each(tmp_path: Path) -> None:
    from arbex.experiments.regimes import USUAL

    budget = replace(TINY, seeds=1, assignments=("sampling=natural", "augmentation=heavy"))
    settings = load_experiment("regimes").settings(budget)
    jobs = {job.setting.name: job for job in plan_jobs(settings, budget, "data", tmp_path, 1)}
    usual = jobs[f"poster, noise 20 %, {USUAL}"].settings
    assert (usual.sampling, usual.augmentation, usual.soft_targets, usual.label_noise) == (
        "natural",
        "heavy",
        True,
        0.2,
    )
    others = {
        "labels as targets": replace(usual, soft_targets=False),
        "as many images of every class": replace(usual, sampling="quota"),
        "no augmentation": replace(usual, augmentation="none"),
        "light augmentation": replace(usual, augmentation="light"),
    }
    assert {name.removeprefix("poster, noise 20 %, "): job.settings for name, job in jobs.items()
            if name.startswith("poster, noise 20 %") and job.settings != usual} == others  # fmt: skip


@pytest.mark.slow
def test_regimes_are_compared(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from arbex.experiments import regimes

    few = {name: regimes.REGIMES[name] for name in ("annotators' votes as targets", "labels as targets")}
    monkeypatch.setattr(regimes, "REGIMES", few)
    text = run_experiment("regimes", str(faces), tmp_path, replace(TINY, seeds=1)).read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    names = [regimes.USUAL, "labels as targets"]
    assert [row[:2] for row in rows] == [[name, noise] for name in names for noise in ("0 %", "20 %")]
    stored = json.loads((tmp_path / "regimes.json").read_text())["figures"]
    each = stored["labels as targets, noise 20 %"]
    assert rows[-1][2] == f"{100 * each['corrected']['mean']:.2f}"
    difference = each["corrected"]["mean"] - each["poster"]["mean"]
    assert each["over_poster"]["mean"] == pytest.approx(difference, abs=1e-5)  # of rounded figures
    assert "*As usual*: annotators' votes as targets." in text


@pytest.mark.slow
def test_the_head_experiment_reports_heads_without_corrections(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arbex.experiments import head

    monkeypatch.setattr(head, "READINGS", {head.OURS: ()})
    monkeypatch.setattr(head, "FEW", (head.OURS,))
    for correction, plots in (("none", {"head.png"}), ("attention", {"head.png", "head-epochs.png"})):
        budget = replace(TINY, seeds=1, assignments=(*TINY.assignments, f"arbex:correction={correction}"))
        out = tmp_path / correction
        assert run_experiment("head", str(faces), out, budget).is_file()
        assert {path.name for path in out.glob("*.png")} == plots


def test_runs_that_end_early_are_drawn_as_far_as_all_of_them_got(tmp_path: Path) -> None:
    from arbex.evaluation.scores import Evaluation
    from arbex.experiments.plan import Outcome, Results

    experiment, scores = load_experiment("fig-7"), SimpleNamespace(corrected=SimpleNamespace(accuracy=0.5))
    outcomes = [
        Outcome(
            setting=setting.name,
            seed=seed,
            scores=cast("Evaluation", scores),
            best_epoch=1,
            curve=(0.2, 0.4, 0.3)[: 3 - seed],
            head=(),
            seconds=1.0,
            commands=(),
            run="",
        )
        for seed in (0, 1)
        for setting in experiment.settings(TINY)
    ]
    found = experiment.report(Results(outcomes), TINY, "data", tmp_path)
    assert all(each["validation"] == pytest.approx([0.2, 0.4]) for each in found.figures.values())


def test_figures_of_answers_are_those_of_the_images_that_were_held_out(faces: Path, tmp_path: Path) -> None:
    """A data set without splits serves as each of them, but a run is not to be tested on what it has learned."""
    from arbex.experiments.comparison import StoredAnswers

    shutil.copytree(faces / "train", tmp_path / "unsplit")
    (job,) = plan_jobs([Setting("a")], replace(TINY, seeds=1), str(tmp_path / "unsplit"), tmp_path, 1)
    outcome = perform(job)
    answers = StoredAnswers.read(Path(outcome.run))
    assert len(answers.right) == outcome.scores.n < len(list((tmp_path / "unsplit").glob("*/*"))) / 2
    assert answers.right.mean() == pytest.approx(outcome.scores.corrected.accuracy)


def test_mistakes_in_any_run_are_found_before_the_first_one_is_trained(faces: Path, tmp_path: Path) -> None:
    mixed = replace(TINY, assignments=(*TINY.assignments, "arbex:mixup=0.2"))
    with pytest.raises(InputError, match="early_learning is 3, and images are mixed"):
        run_experiment("tuning", str(faces), tmp_path / "a", mixed)
    folders = tmp_path / "faces"
    for split, name in itertools.product(("train", "val", "test"), ("happiness", "surprise", "boredom")):
        source = next((faces / split / "happiness").iterdir())
        (folders / split / name).mkdir(parents=True)
        shutil.copy(source, folders / split / name / "a.png")
    with pytest.raises(InputError, match="there is no look-alike of boredom, surprise among the classes"):
        run_experiment("gain", str(folders), tmp_path / "b", replace(TINY, grid=True))
    assert not list(tmp_path.glob("[ab]"))


def test_an_experiment_says_which_settings_it_chooses_itself(tmp_path: Path) -> None:
    said = Lines()
    given = ("label_smoothing=0.2", "poster:label-noise=0.1", "lambda_anchor=0.5", "arbex:hidden=8")
    budget = replace(TINY, assignments=given)
    for name in ("table-1", "gain", "table-4"):
        with pytest.raises(DataError, match="does not exist"):
            run_experiment(name, str(tmp_path / "none"), tmp_path / "out", budget, report=said)
    assert said.lines == [
        "--set label_smoothing has no effect: every run of table-1 has its own value",
        "--set label_noise has no effect: every run of gain has its own value",
    ]


def test_the_weight_of_the_anchor_loss_is_a_multiple_of_the_one_that_is_given(tmp_path: Path) -> None:
    budget = replace(TINY, assignments=("lambda_anchor=0.5",))
    jobs = plan_jobs(load_experiment("table-4").settings(budget), budget, "data", tmp_path, 1)
    assert [job.settings.lambda_anchor for job in jobs[:8]] == pytest.approx([0.5, 50, 0.005, 0] * 2)


def test_the_opposites_of_the_head_are_those_of_the_settings_that_are_given(tmp_path: Path) -> None:
    budget = replace(TINY, grid=True, assignments=("arbex:lambda_parts=0", "arbex:hidden=64"))
    settings = {setting.name: setting.assignments for setting in load_experiment("head").settings(budget)}
    assert settings["losses of the parts, too"] == ("lambda_parts=0.5",)
    assert settings["primary classifier is linear"] == ("hidden=0",)


@pytest.mark.slow
def test_an_interrupted_experiment_goes_on(faces: Path, tmp_path: Path) -> None:
    experiment = load_experiment("table-5")
    settings = experiment.settings(TINY)[:2]
    said = Lines()
    from arbex.experiments.runner import run_all

    first = run_all(settings[:1], TINY, str(faces), tmp_path, 1, said)
    assert [outcome.seed for outcome in first] == [0, 1]
    assert {(label, total) for label, _, total in said.steps} == {("epochs of 2 runs", 2)}
    epochs = [done for _, done, _ in said.steps]
    assert epochs == sorted(epochs)
    assert epochs[-1] == 2
    said.lines.clear()
    both = run_all(settings, TINY, str(faces), tmp_path, 2, said)
    assert said.lines[0] == "2 of 4 runs are already finished"
    assert len(said.lines) == 3
    assert [o.scores for o in both if o.setting == settings[0].name] == [o.scores for o in first]


def test_all_runs_take_the_encoder_of_another_run(run: Path, faces: Path, tmp_path: Path) -> None:
    setting, budget = Setting("any", anchors=10), replace(TINY, seeds=1, epochs=0, init=(str(run),))
    (job,) = plan_jobs([setting], budget, str(faces), tmp_path, 1)
    assert f"--init {run} --new-head" in job.commands[0]
    assert f"-from-{run.name}-" in str(job.run)
    perform(job)
    before, after = (read_weights(path / "best.safetensors") for path in (run, job.run))
    encoder = [name for name in before if name.startswith("encoder.")]
    assert encoder
    assert all(torch.equal(before[name], after[name]) for name in encoder)
    assert not torch.equal(before["head.anchors"], after["head.anchors"])


def test_the_commands_do_the_same_by_hand(faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    setting = Setting("any", anchors=3, assignments=("label_noise=0.20", "bounded_anchor_loss=false"))
    budget = replace(TINY, seeds=1, image_size=48)
    outcome = perform(plan_jobs([setting], budget, str(faces), tmp_path / "a", 1)[0])
    train, evaluate = (shlex.split(line.replace(outcome.run, str(tmp_path / "b"))) for line in outcome.commands)
    assert invoke(train[1:], "arbex") == 0
    capfd.readouterr()
    assert invoke([*evaluate[1:], "--json"], "arbex") == 0
    assert json.loads(capfd.readouterr().out) == json.loads(json.dumps(outcome.scores.to_json()))


def test_a_folder_of_another_experiment_is_refused(faces: Path, tmp_path: Path) -> None:
    (job,) = plan_jobs(load_experiment("fig-5").settings(TINY), replace(TINY, seeds=1), str(faces), tmp_path, 1)
    assert read_outcome(job) is None

    outcome = perform(job)
    assert read_outcome(job) == outcome
    with pytest.raises(RunError, match="was trained with: .*the experiment needs: .*--data elsewhere.*another --out"):
        read_outcome(replace(job, data="elsewhere"))
    (job.run / "result.json").write_text("{}")
    with pytest.raises(RunError, match="is damaged"):
        read_outcome(job)


@pytest.mark.slow
def test_mistakes_leave_nothing(faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    given = ["experiment", "fig-5", "--budget", "small", "--jobs", "1", "--out", str(tmp_path / "results")]
    assert invoke([*given, "--data", "/nowhere"], "arbex") == 2
    assert "/nowhere does not exist" in capfd.readouterr().err  # the worker's error, not its traceback
    assert invoke([*given, "--data", str(faces), "--set", "nonsense=1"], "arbex") == 2
    assert "The setting 'nonsense' is not known" in capfd.readouterr().err
    assert not (tmp_path / "results").exists()


def test_wrong_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsupportedError, match="The experiment 'table-9' is not known. Allowed: table-1, table-2"):
        load_experiment("table-9")
    assert invoke(["experiment", "table-9", "--data", "x"], "arbex") == 2
    assert "table-1" in capsys.readouterr().err


@pytest.mark.slow
def test_tuning_hands_the_best_settings_of_each_method_to_other_experiments(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arbex.experiments import tuning

    # With hardly any learning rate, answers are those of chance.
    few = {tuning.USUAL: ("learning_rate=1e-6",), "usual rate": ("learning_rate=1e-2",)}
    monkeypatch.setattr(tuning.Tuning, "candidates", lambda self, budget, method: few)
    budget = replace(TINY, epochs=3, assignments=("images_per_class=20", "batch_size=14"))
    text = run_experiment("tuning", str(faces), tmp_path, budget).read_text()
    stored = json.loads((tmp_path / "tuning.json").read_text())
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(("| arbex", "| poster"))]
    assert [row[:2] for row in rows] == [[method, name] for method in ("arbex", "poster") for name in few]
    for method in ("arbex", "poster"):
        runs = [run for run in stored["runs"] if run["setting"].startswith(f"{method}, ")]
        curves = {name: [max(run["curve"]) for run in runs if run["setting"].endswith(name)] for name in few}
        means = {name: sum(best) / len(best) for name, best in curves.items()}
        best = max(means, key=lambda name: means[name])
        found = {name: stored["figures"][f"{method}, {name}"]["mean"]["mean"] for name in few}
        assert found == pytest.approx(means, abs=1e-5)  # of rounded figures
        assert [row[1] for row in rows if row[0] == method and row[-1].startswith("**")] == [best]
        assert f"--set {method}:{few[best][0]}" in text
    given = tuple(text.split("other experiments: `--set ")[1].split("`")[0].split(" --set "))
    assert replace(budget, assignments=given).assignments_of("poster")


def test_tuning_with_the_full_grid_tries_every_method_without_a_teacher() -> None:
    few, full = ({setting.method for setting in load_experiment("tuning").settings(BUDGETS[name])} for name in BUDGETS)
    assert few == {"arbex", "poster"}
    assert full == set(METHODS) - {"efficientface"}


def test_tuning_halves_and_doubles_the_learning_rate_that_a_method_is_given() -> None:
    given = ("learning_rate=0.004", "poster:learning-rate=0.002")
    settings = load_experiment("tuning").settings(replace(TINY, assignments=given))
    changed = [one for one in settings if one.name.endswith("the learning rate")]
    rates = {method: {one.assignments[0] for one in changed if one.method == method} for method in ("arbex", "poster")}
    assert rates["arbex"] == {"learning_rate=0.002", "learning_rate=0.008"}
    assert rates["poster"] == {"learning_rate=0.001", "learning_rate=0.004"}

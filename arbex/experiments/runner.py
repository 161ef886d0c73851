"""Training and evaluating the runs of an experiment: several at a time, and none of them twice."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from arbex.checkpoint import LAST, METRICS, RESUME
from arbex.data.noise import check_noise
from arbex.data.splits import read_split
from arbex.errors import RunError
from arbex.experiments.plan import Budget, Outcome, Setting
from arbex.files import write_atomically
from arbex.methods import method_class
from arbex.methods.base import MethodOptions
from arbex.models import PRESETS
from arbex.progress import Reporter
from arbex.settings import MOST_UNREADABLE, PRESET_SETTINGS, TrainSettings, assign, override, split
from arbex.training.arguments import what_it_needs
from arbex.training.configuration import TrainRequest, adapted
from arbex.training.state import HEAD_VALUES

RESULT = "result.json"
"""File with the outcome of a run, in its folder."""

SECONDS_PER_LOOK = 2.0
"""How often the runs are looked at, to report how far they are."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run. Experiments that need the same run share it.

    Attributes:
        setting: Setting of the run.
        seed: Seed of the run.
        budget: Size of the experiment.
        data: Data set, ``PATH`` or ``LAYOUT:PATH``.
        runs: Folder of all runs of the budget.
        threads: Number of threads that the run may use.
        teacher: Run of the teacher, if there is one.
    """

    setting: Setting
    seed: int
    budget: Budget
    data: str
    runs: Path
    threads: int
    teacher: Path | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """Settings that the budget has for runs of the method, as ``name=value``."""
        return self.budget.assignments_of(self.setting.method)

    @property
    def options(self) -> MethodOptions:
        """Options of the method."""
        return self.split()[0]

    @property
    def preset(self) -> str:
        """Preset of the encoder."""
        return self.setting.preset or self.budget.preset

    @property
    def image_size(self) -> int | None:
        """Side of the input in pixels; None for that of the preset. Another encoder may need the next multiple."""
        budget = self.budget
        if self.setting.preset is None:
            return budget.image_size
        step = PRESETS[self.preset].size_step
        return math.ceil((budget.image_size or PRESETS[budget.preset].image_size) / step) * step

    @property
    def settings(self) -> TrainSettings:
        """Settings of the training."""
        return self.settings_like(self.budget.preset, self.split()[1])

    def settings_like(self, preset: str, assignments: Sequence[str]) -> TrainSettings:
        """Returns the settings of a preset with the seed and the epochs of the run, changed by ``name=value`` texts."""
        epochs = [] if self.budget.epochs is None else [f"epochs={self.budget.epochs}"]
        options = method_class(self.setting.method).usual_options(preset).to_json()
        return override(PRESET_SETTINGS[preset], [f"seed={self.seed}", *epochs, *assignments], also=options)

    def split(self) -> tuple[MethodOptions, list[str]]:
        """Returns the options of the method, and the texts that name none of them."""
        texts = (*self.given, *self.setting.assignments)
        return assign(method_class(self.setting.method).usual_options(self.preset), texts)

    @property
    def own(self) -> list[str]:
        """Differences from the usual settings and options of the budget, as ``name=value``."""
        plain = replace(self, setting=Setting("", method=self.setting.method))
        return differences(plain.settings, self.settings) + differences(plain.options, self.options)

    @property
    def of_budget(self) -> list[str]:
        """What the usual settings of the budget's preset have otherwise than those of the run's own preset."""
        shared = assign(self.options, self.given)[1]
        return differences(*(self.settings_like(preset, shared) for preset in (self.preset, self.budget.preset)))

    @property
    def run(self) -> Path:
        """Folder of the run, named after what is trained and not after the experiment."""
        anchors = [f"K={self.setting.anchors}"] if self.setting.method == "arbex" else []
        preset = [self.setting.preset] if self.setting.preset else []
        return self.runs / "-".join([self.setting.method, *preset, *anchors, *self.own, f"seed={self.seed}"])

    @property
    def commands(self) -> tuple[str, ...]:
        """Commands that train and evaluate the same run."""
        run, setting, budget = str(self.run), self.setting, self.budget
        train = ["arbex", "train", "--data", self.data, "--out", run, "--preset", self.preset]
        train += ["--method", setting.method, "--seed", str(self.seed)]
        train += ["--anchors", str(setting.anchors)] if setting.method == "arbex" else []
        train += ["--image-size", str(self.image_size)] if self.image_size else []
        train += [part for path in budget.init for part in ("--init", path)] + ["--new-head"] * bool(budget.init)
        train += ["--teacher", str(self.teacher)] if self.teacher else []
        train += ["--epochs", str(budget.epochs)] if budget.epochs is not None else []
        texts, values = (*self.given, *self.of_budget, *self.own), self.settings.to_json() | self.options.to_json()
        train += [part for text in texts if not what_it_needs(split(text)[0], values) for part in ("--set", text)]
        evaluate, most = ["arbex", "evaluate", run, "--data", self.data], self.settings.max_unreadable
        evaluate += ["--max-unreadable", f"{most:g}"] if most != MOST_UNREADABLE else []
        return shlex.join(train), shlex.join(evaluate)

    @property
    def request(self) -> TrainRequest:
        """Request to train the run, or to go on with it."""
        return TrainRequest(
            data=self.data,
            out=self.run,
            preset=self.preset,
            method=self.setting.method,
            settings=self.settings,
            anchors=self.setting.anchors,
            image_size=self.image_size,
            resume=(self.run / RESUME).is_file(),
            init=tuple(Path(path) for path in self.budget.init),
            new_head=bool(self.budget.init),
            teacher=self.teacher,
            method_options=self.options,
        )


def differences(usual: Any, other: Any) -> list[str]:
    """Returns the fields of ``other`` that differ from those of ``usual``, both dataclasses, as ``name=value``."""
    before, after = asdict(usual), asdict(other)
    return [f"{name}={as_text(value)}" for name, value in after.items() if value != before[name]]


def as_text(value: Any) -> str:
    """Returns a value in the form that ``--set`` reads."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def plan_jobs(settings: Sequence[Setting], budget: Budget, data: str, out: Path, jobs: int) -> list[Job]:
    """Returns all runs, seed by seed, so that the first runs already span the table."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    named = {setting.name: setting for setting in settings}

    def job(setting: Setting, seed: int) -> Job:
        teacher = job(named[setting.teacher], seed).run if setting.teacher else None
        return Job(
            setting=setting,
            seed=seed,
            budget=budget,
            data=data,
            runs=out / "runs" / budget.name,
            threads=threads,
            teacher=teacher,
        )

    return [job(setting, seed) for seed in range(budget.seeds) for setting in settings]


def read_outcome(job: Job) -> Outcome | None:
    """Returns the outcome of a run, or None if the run is not finished.

    Raises:
        RunError: If the outcome is damaged, or is that of a run with other arguments.
    """
    file = job.run / RESULT
    if not file.is_file():
        return None
    try:
        outcome = Outcome.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{file} is damaged: {error}.", remedy="Remove its folder; the run is then trained again."
        ) from error
    if outcome.commands != job.commands:
        raise RunError(
            f"{job.run} was trained with: {outcome.commands[0]}; the experiment needs: {job.commands[0]}.",
            remedy="Give another --out, or remove the folder of the run.",
        )
    return replace(outcome, setting=job.setting.name)


def perform(job: Job) -> Outcome:
    """Trains a run, or continues an interrupted one, and evaluates it on the test split."""
    import torch

    torch.set_num_threads(job.threads)
    from arbex.evaluation.runs import evaluate
    from arbex.experiments.figures import answers_of
    from arbex.training.loop import train

    started, request = time.monotonic(), job.request
    if job.run.exists() and not request.resume:
        shutil.rmtree(job.run)  # interrupted before there was a state to resume
    state = train(request)
    epochs = [json.loads(line) for line in (job.run / METRICS).read_text(encoding="utf-8").splitlines()]
    outcome = Outcome(
        setting=job.setting.name,
        seed=job.seed,
        scores=evaluate(str(job.run), job.data, "test", most_unreadable=job.settings.max_unreadable),
        best_epoch=state.best_epoch,
        curve=tuple(float(epoch["val_accuracy"]) for epoch in epochs),
        head=tuple(head_values(epoch) for epoch in epochs),
        seconds=time.monotonic() - started,
        commands=job.commands,
        run=str(job.run),
    )
    answers_of(str(job.run), job.data).summary.write(job.run)
    write_atomically(job.run / RESULT, json.dumps(outcome.to_json(), indent=1) + "\n")
    for name in (RESUME, LAST):  # only the best weights were evaluated
        (job.run / name).unlink(missing_ok=True)
    return outcome


def head_values(epoch: Mapping[str, float]) -> dict[str, float]:
    """Returns what a line of ``metrics.jsonl`` says of the head."""
    return {name.removeprefix(HEAD_VALUES): value for name, value in epoch.items() if name.startswith(HEAD_VALUES)}


def run_all(
    settings: Sequence[Setting], budget: Budget, data: str, out: Path, jobs: int, report: Reporter
) -> list[Outcome]:
    """Returns the outcomes of all settings and seeds: finished runs are read, the others trained.

    Args:
        settings: Settings to train.
        budget: Size of the experiment.
        data: Data set, ``PATH`` or ``LAYOUT:PATH``.
        out: Folder of the documents. Its folder ``runs/BUDGET`` holds the runs of all experiments.
        jobs: Number of runs at a time.
        report: Takes one line per run.
    """
    planned = plan_jobs(settings, budget, data, out, jobs)
    distinct = list({job.run: job for job in planned}.values())
    waiting = [job for job in distinct if read_outcome(job) is None]
    if len(waiting) < len(distinct):
        report.line(f"{len(distinct) - len(waiting)} of {len(distinct)} runs are already finished")
    check_jobs(waiting)
    for taught in (False, True):  # teachers first
        work([job for job in waiting if bool(job.teacher) == taught], jobs, report)
    return [outcome for job in planned if (outcome := read_outcome(job))]


def check_jobs(waiting: Sequence[Job]) -> None:
    """Checks, before any run is trained, that all of them can be.

    Raises:
        InputError: If the data cannot be used, or settings of a run do not go together or do not fit its classes.
    """
    if not waiting:
        return
    labels = read_split(waiting[0].data, "train", hold_out=True).labels
    for job in waiting:
        settings = adapted(job.request).settings
        if settings.label_noise:
            check_noise(labels, settings.label_noise_kind)


def work(waiting: Sequence[Job], jobs: int, report: Reporter) -> None:
    """Trains and evaluates runs, and reports the accuracy of each."""
    if not waiting:
        return
    # Spawned, not forked: this process may have loaded libraries with threads.
    with ProcessPoolExecutor(min(jobs, len(waiting)), mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(perform, job) for job in waiting}
        try:
            follow(pending, waiting, report)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def follow(pending: set[Future[Outcome]], waiting: Sequence[Job], report: Reporter) -> None:
    """Reports epochs as they end, and the accuracy of each run, until all runs are finished.

    Args:
        pending: Outcomes to come.
        waiting: The runs that they come from.
        report: Takes progress.
    """
    epochs = sum(job.settings.epochs for job in waiting)
    started, already, finished = time.monotonic(), epochs_of(waiting), 0
    with report.bar(f"epochs of {len(waiting)} runs", epochs) as step:
        while pending:
            done, pending = wait(pending, SECONDS_PER_LOOK, FIRST_COMPLETED)
            trained = epochs_of(waiting)
            step(trained)
            for future in done:
                finished += 1
                outcome = future.result()
                left = (time.monotonic() - started) / max(1, trained - already) * (epochs - trained)
                accuracy = outcome.scores.corrected.accuracy
                report.line(
                    f"{finished}/{len(waiting)} {outcome.setting}, seed {outcome.seed}: accuracy {accuracy:.3f} "
                    f"in {outcome.seconds:.0f} s, about {left / 60:.0f} min left"
                )


def epochs_of(jobs: Iterable[Job]) -> int:
    """Returns how many epochs of runs are trained."""
    files = (job.run / METRICS for job in jobs)
    return sum(file.read_bytes().count(b"\n") for file in files if file.is_file())

"""Training and measuring all runs of an experiment: several at a time, and never twice."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from arbex.checkpoint import LAST, METRICS, RESUME
from arbex.errors import RunError
from arbex.experiments.plan import Budget, Outcome, Setting
from arbex.files import write_atomically
from arbex.methods import method_class
from arbex.methods.base import MethodOptions
from arbex.progress import Reporter
from arbex.settings import PRESET_SETTINGS, TrainSettings, assign, override

RESULT = "result.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run. Experiments that need the same one share it.

    Attributes:
        setting: What to train.
        seed: With which seed.
        budget: At what cost.
        data: On what.
        runs: Folder of all runs of the budget.
        threads: How many it may use.
        teacher: The run that it learns from.
    """

    setting: Setting
    seed: int
    budget: Budget
    data: str
    runs: Path
    threads: int
    teacher: Path | None = None

    @property
    def options(self) -> MethodOptions:
        """The method's options."""
        return self.split()[0]

    @property
    def settings(self) -> TrainSettings:
        """The settings of its training."""
        epochs = [] if self.budget.epochs is None else [f"epochs={self.budget.epochs}"]
        return override(PRESET_SETTINGS[self.budget.preset], [f"seed={self.seed}", *epochs, *self.split()[1]])

    def split(self) -> tuple[MethodOptions, list[str]]:
        """Returns the method's options, and the texts that are not among them."""
        texts = (*self.budget.assignments, *self.setting.assignments)
        return assign(method_class(self.setting.method).options_type(), texts)

    @property
    def own(self) -> list[str]:
        """What the setting changes against all others of the budget, as ``name=value``."""
        plain = replace(self, setting=Setting("", method=self.setting.method))
        return differences(plain.settings, self.settings) + differences(plain.options, self.options)

    @property
    def run(self) -> Path:
        """Its folder, named after what is trained and not after who wants it."""
        anchors = [f"K={self.setting.anchors}"] if self.setting.method == "arbex" else []
        return self.runs / "-".join([self.setting.method, *anchors, *self.own, f"seed={self.seed}"])

    @property
    def commands(self) -> tuple[str, ...]:
        """What does the same by hand."""
        run, setting, budget = str(self.run), self.setting, self.budget
        train = ["arbex", "train", "--data", self.data, "--out", run, "--preset", budget.preset]
        train += ["--method", setting.method, "--seed", str(self.seed)]
        train += ["--anchors", str(setting.anchors)] if setting.method == "arbex" else []
        train += ["--image-size", str(budget.image_size)] if budget.image_size else []
        train += [part for path in budget.init for part in ("--init", path)] + ["--new-head"] * bool(budget.init)
        train += ["--teacher", str(self.teacher)] if self.teacher else []
        train += ["--epochs", str(budget.epochs)] if budget.epochs is not None else []
        train += [part for text in (*budget.assignments, *self.own) for part in ("--set", text)]
        return shlex.join(train), shlex.join(["arbex", "evaluate", run, "--data", self.data])


def differences(usual: Any, other: Any) -> list[str]:
    """Returns the fields of a dataclass that differ from another's as ``name=value``."""
    before, after = asdict(usual), asdict(other)
    return [f"{name}={as_text(value)}" for name, value in after.items() if value != before[name]]


def as_text(value: Any) -> str:
    """Returns a value as ``--set`` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def plan_jobs(settings: Sequence[Setting], budget: Budget, data: str, out: Path, jobs: int) -> list[Job]:
    """Returns all runs, one seed of every setting after the other, so that a part of them spans the table."""
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
    """Returns what a finished run showed; nothing where it is not finished.

    Raises:
        RunError: If the folder holds a run that was trained otherwise.
    """
    file = job.run / RESULT
    if not file.is_file():
        return None
    try:
        outcome = Outcome.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{file} is damaged: {error}.", remedy="Remove its folder; it is trained again.") from error
    if outcome.commands != job.commands:
        raise RunError(
            f"{job.run} was trained with: {outcome.commands[0]}; wanted is: {job.commands[0]}.",
            remedy="Give another --out, or remove the folder.",
        )
    return replace(outcome, setting=job.setting.name)


def perform(job: Job) -> Outcome:
    """Trains a run, or goes on where it was interrupted, and measures it on the test split."""
    import torch

    torch.set_num_threads(job.threads)
    from arbex.evaluation import evaluate
    from arbex.training.configuration import TrainRequest
    from arbex.training.loop import train

    started = time.monotonic()
    resume = (job.run / RESUME).is_file()
    if job.run.exists() and not resume:
        shutil.rmtree(job.run)  # interrupted before there was anything to go on from
    request = TrainRequest(
        data=job.data,
        out=job.run,
        preset=job.budget.preset,
        method=job.setting.method,
        settings=job.settings,
        anchors=job.setting.anchors,
        image_size=job.budget.image_size,
        resume=resume,
        init=tuple(Path(path) for path in job.budget.init),
        new_head=bool(job.budget.init),
        teacher=job.teacher,
        method_options=job.options,
    )
    state = train(request)
    lines = (job.run / METRICS).read_text(encoding="utf-8").splitlines()
    outcome = Outcome(
        setting=job.setting.name,
        seed=job.seed,
        scores=evaluate(str(job.run), job.data, "test"),
        best_epoch=state.best_epoch,
        curve=tuple(float(json.loads(line)["val_accuracy"]) for line in lines),
        seconds=time.monotonic() - started,
        commands=job.commands,
        run=str(job.run),
    )
    write_atomically(job.run / RESULT, json.dumps(outcome.to_json(), indent=1) + "\n")
    for name in (RESUME, LAST):  # the best weights are what was measured
        (job.run / name).unlink(missing_ok=True)
    return outcome


def run_all(
    settings: Sequence[Setting], budget: Budget, data: str, out: Path, jobs: int, report: Reporter
) -> list[Outcome]:
    """Returns the outcomes of all settings and seeds; those of finished runs are read, the others are trained.

    Args:
        settings: What to train.
        budget: At what cost.
        data: On what.
        out: Folder of the documents; runs lie in ``runs/BUDGET``, for all experiments.
        jobs: How many at a time.
        report: Takes a line a run.
    """
    planned = plan_jobs(settings, budget, data, out, jobs)
    distinct = list({job.run: job for job in planned}.values())
    waiting = [job for job in distinct if read_outcome(job) is None]
    if len(waiting) < len(distinct):
        report.line(f"{len(distinct) - len(waiting)} of {len(distinct)} runs are finished already")
    for taught in (False, True):  # teachers first
        work([job for job in waiting if bool(job.teacher) == taught], jobs, report)
    return [outcome for job in planned if (outcome := read_outcome(job))]


def work(waiting: Sequence[Job], jobs: int, report: Reporter) -> None:
    """Trains and measures runs, and says of each what came out."""
    started = time.monotonic()
    if not waiting:
        return
    # Not forked: this process may have loaded libraries with threads.
    with ProcessPoolExecutor(min(jobs, len(waiting)), mp_context=get_context("spawn")) as pool:
        pending = [pool.submit(perform, job) for job in waiting]
        try:
            for done, future in enumerate(as_completed(pending), start=1):
                outcome = future.result()
                left = (time.monotonic() - started) / done * (len(waiting) - done)
                accuracy = outcome.scores.corrected.accuracy
                report.line(
                    f"{done}/{len(waiting)} {outcome.setting}, seed {outcome.seed}: accuracy {accuracy:.3f} "
                    f"in {outcome.seconds:.0f} s, about {left / 60:.0f} min left"
                )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

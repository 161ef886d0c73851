"""Training and measuring all runs of an experiment: several at a time, and never twice."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from arbex.errors import RunError
from arbex.experiments.plan import Budget, Outcome, Setting
from arbex.files import write_atomically
from arbex.progress import Reporter

RESULT = "result.json"


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        setting: What to train.
        seed: With which seed.
        budget: At what cost.
        data: On what.
        run: Where.
        threads: How many it may use.
        teacher: The run that it learns from.
    """

    setting: Setting
    seed: int
    budget: Budget
    data: str
    run: Path
    threads: int
    teacher: Path | None = None

    @property
    def assignments(self) -> tuple[str, ...]:
        """All ``name=value`` texts."""
        return (*self.budget.assignments, *self.setting.assignments)

    @property
    def commands(self) -> tuple[str, ...]:
        """What does the same by hand."""
        run, setting = str(self.run), self.setting
        train = ["arbex", "train", "--data", self.data, "--out", run, "--preset", self.budget.preset]
        train += ["--method", setting.method, "--anchors", str(setting.anchors), "--seed", str(self.seed)]
        train += ["--teacher", str(self.teacher)] if self.teacher else []
        train += ["--epochs", str(self.budget.epochs)] if self.budget.epochs is not None else []
        train += [part for text in self.assignments for part in ("--set", text)]
        return shlex.join(train), shlex.join(["arbex", "evaluate", run, "--data", self.data])


def folder_name(setting: str, seed: int) -> str:
    """Returns the name of a run's folder."""
    plain = "".join(c if c.isalnum() or c in "-_.=" else "-" for c in setting)
    return f"{plain}-seed{seed}"


def plan_jobs(settings: Sequence[Setting], budget: Budget, data: str, out: Path, jobs: int) -> list[Job]:
    """Returns all runs, one seed of every setting after the other, so that a part of them spans the table."""
    threads = max(1, (os.cpu_count() or 1) // jobs)

    def place(name: str, seed: int) -> Path:
        return out / "runs" / folder_name(name, seed)

    return [
        Job(
            *(setting, seed, budget, data, place(setting.name, seed), threads),
            place(setting.teacher, seed) if setting.teacher else None,
        )
        for seed in range(budget.seeds)
        for setting in settings
    ]


def read_outcome(job: Job) -> Outcome | None:
    """Returns what a finished run showed; nothing where it is not finished.

    Raises:
        RunError: If the folder holds a run that was trained otherwise.
    """
    file = job.run / RESULT
    if not file.is_file():
        return None
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        outcome = Outcome(**{**stored, "curve": tuple(stored["curve"]), "commands": tuple(stored["commands"])})
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{file} is damaged: {error}.", remedy="Remove its folder; it is trained again.") from error
    if outcome.commands != job.commands:
        raise RunError(
            f"{job.run} was trained with: {outcome.commands[0]}; wanted is: {job.commands[0]}.",
            remedy="Give another --out, or remove the folder.",
        )
    return outcome


def perform(job: Job) -> Outcome:
    """Trains a run, or goes on where it was interrupted, and measures it on the test split."""
    import torch

    torch.set_num_threads(job.threads)
    from arbex.evaluation import evaluate
    from arbex.methods import method_class
    from arbex.methods.base import options_to_json, split_assignments
    from arbex.training.configuration import TrainRequest
    from arbex.training.loop import train
    from arbex.training.settings import PRESET_SETTINGS, override

    started = time.monotonic()
    options, others = split_assignments(method_class(job.setting.method).options_type, job.assignments)
    base = PRESET_SETTINGS[job.budget.preset]
    epochs = [] if job.budget.epochs is None else [f"epochs={job.budget.epochs}"]
    settings = override(base, [f"seed={job.seed}", *epochs, *others])
    resume = (job.run / "resume.safetensors").is_file()
    if job.run.exists() and not resume:
        shutil.rmtree(job.run)  # interrupted before there was anything to go on from
    request = TrainRequest(
        job.data,
        job.run,
        job.budget.preset,
        job.setting.method,
        settings,
        job.setting.anchors,
        resume=resume,
        teacher=job.teacher,
        method_options=options_to_json(options),
    )
    state = train(request)
    lines = (job.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    outcome = Outcome(
        job.setting.name,
        job.seed,
        evaluate(str(job.run), job.data, "test"),
        state.best_epoch,
        tuple(float(json.loads(line)["val_accuracy"]) for line in lines),
        time.monotonic() - started,
        job.commands,
        str(job.run),
    )
    write_atomically(job.run / RESULT, json.dumps(asdict(outcome), indent=1) + "\n")
    for name in ("resume.safetensors", "last.safetensors"):  # the best weights are what was measured
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
        out: Folder of the experiment; runs lie in ``runs``.
        jobs: How many at a time.
        report: Takes a line a run.
    """
    planned = plan_jobs(settings, budget, data, out, jobs)
    known = {job: read_outcome(job) for job in planned}
    outcomes = [outcome for outcome in known.values() if outcome]
    waiting = [job for job, outcome in known.items() if outcome is None]
    if outcomes:
        report.line(f"{len(outcomes)} of {len(planned)} runs are finished already")
    for taught in (False, True):  # teachers first
        outcomes += work([job for job in waiting if bool(job.teacher) == taught], jobs, report)
    return outcomes


def work(waiting: Sequence[Job], jobs: int, report: Reporter) -> Iterator[Outcome]:
    """Yields the outcomes of runs as they finish."""
    started = time.monotonic()
    if not waiting:
        return
    # Not forked: this process may have loaded libraries with threads.
    with ProcessPoolExecutor(min(jobs, len(waiting)), mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(perform, job): job for job in waiting}
        try:
            for done, future in enumerate(as_completed(pending), start=1):
                outcome = future.result()
                left = (time.monotonic() - started) / done * (len(waiting) - done)
                report.line(
                    f"{done}/{len(waiting)} {outcome.setting}, seed {outcome.seed}: accuracy "
                    f"{outcome.scores['accuracy']:.3f} in {outcome.seconds:.0f} s, about {left / 60:.0f} min left"
                )
                yield outcome
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

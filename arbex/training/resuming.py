"""Checks before a run goes on: nothing but its length, and what follows training, may have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from arbex.checkpoint import RESUME, RunConfig, read_config
from arbex.errors import InputError, RunError
from arbex.training.state import TrainState

FREE = ("epochs", "patience", "calibrate", "coverage")
"""Settings that say how long to train and what to do then, which may change."""

DIGESTS = {
    "train_digest": "other training images or classes",
    "init": "other weights (--init)",
    "teacher": "another teacher (--teacher), or without one",
}
"""What a run started with, by the name of its digest in the configuration."""


def resumed_config(run: Path, asked: RunConfig) -> RunConfig:
    """Returns the configuration with which a run goes on.

    Args:
        run: The run.
        asked: Configuration of a new run for the same request.

    Raises:
        RunError: If there is nothing to resume, or the run was started with other values.
    """
    if not (run / RESUME).is_file():
        raise RunError(f"{run} cannot be resumed: {RESUME} is missing.", remedy="Train a new run without --resume.")
    stored = read_config(run)
    for name, old, new in differences(stored, asked):
        raise RunError(
            f"The run {run} was started with {name} {old}, not {new}.",
            remedy=f"Leave {name} out, which keeps the run's; or train a new run, with another --out and --init {run}.",
        )
    for key, words in DIGESTS.items():
        # Weights to start from are not needed again.
        if stored.data.get(key) != asked.data.get(key) and not (key == "init" and key not in asked.data):
            raise RunError(
                f"The run {run} was started with {words}.",
                remedy=f"Resume with the same; or train a new run, with another --out and --init {run}.",
            )
    free = {name: getattr(asked.settings, name) for name in FREE}
    moved = {name: asked.data[name] for name in ("path", "teacher_path") if name in asked.data}
    data = {**stored.data, **moved}  # the same images, or the same teacher, may be elsewhere now
    return replace(stored, settings=replace(stored.settings, **free), data=data)


def differences(stored: RunConfig, asked: RunConfig) -> Iterator[tuple[str, Any, Any]]:
    """Yields the name, the value in a run and the value now of everything that must not change, and did."""
    old, new = flat(stored), flat(asked)
    for name in dict.fromkeys((*old, *new)):
        if name not in FREE and old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name)


def flat(config: RunConfig) -> dict[str, Any]:
    """Returns the values of a configuration by the names under which a user knows them."""
    content = config.to_json()
    encoder: Mapping[str, Any] = content["encoder"]
    return {
        "preset": content["preset"],
        "method": content["method"],
        "image_size": config.preprocessing.image_size,
        "windows": encoder.get("windows", encoder.get("window")),
        "backbone": encoder.get("backbone"),
        "anchors": content["anchors"],
        **content["settings"],
        **content["method_options"],
    }


def check_epochs(run: Path, state: TrainState, epochs: int) -> None:
    """Checks that a run has not already trained for longer than it is asked to.

    Raises:
        InputError: If it has.
    """
    if epochs < state.epoch:
        raise InputError(
            f"The run {run} has trained for {state.epoch} epochs; epochs is {epochs}.",
            allowed=f"Allowed: {state.epoch} or more.",
        )

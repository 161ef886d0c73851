"""From what a user gives to a request to train: what is left out has a default, or on resuming the run's own value."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arbex.checkpoint import RunConfig, read_config
from arbex.checks import check_name
from arbex.errors import InputError, RunError
from arbex.methods import METHODS, method_class
from arbex.methods.base import MethodOptions
from arbex.models import PRESETS
from arbex.models.custom import PRESET as CUSTOM
from arbex.models.custom import BackboneConfig
from arbex.models.head import ANCHORS
from arbex.settings import PRESET_SETTINGS, TrainSettings, assign, override, split
from arbex.training.configuration import TrainRequest

PRESET, METHOD = "tiny", "arbex"

ONLY_WITH = {
    "decay": ("schedule", "exponential"),
    "restart_epochs": ("schedule", "restarts"),
    "images_per_class": ("sampling", "quota"),
    **dict.fromkeys(("trust", "weights_gradient"), ("weights", "confidence")),
    **dict.fromkeys(
        ("delta", "radius", "anchor_start", "anchor_rate", "anchor_pairs"), ("correction", "both", "anchors")
    ),
    **dict.fromkeys(("tokens", "attention_heads"), ("correction", "both", "attention")),
    "weights": ("correction", "both", "anchors", "attention"),
}
"""Settings and options that have an effect only with one or several values of another one."""

ONLY_ABOVE_ZERO = {"label_noise_kind": "label_noise", "early_learning_momentum": "early_learning"}
"""Settings that have an effect only if another setting is not 0."""

ALSO_SETTINGS = ("epochs", "seed", "coverage")
"""Settings that have an argument of their own."""

TEACHING = "distil_"
"""Beginning of the names of settings that have an effect only with a teacher."""


@dataclass(frozen=True, kw_only=True)
class TrainArguments:
    """What a user gives; None stands for what was left out. The names are those of :func:`arbex.api.train`."""

    data: str
    out: Path | None
    preset: str | None = None
    method: str | None = None
    epochs: int | None = None
    anchors: int | None = None
    image_size: int | None = None
    seed: int | None = None
    coverage: float | None = None
    windows: tuple[int, ...] | None = None
    init: tuple[Path, ...] = ()
    new_head: bool = False
    teacher: Path | None = None
    teacher_backbone: str | None = None
    backbone: str | None = None
    devices: int | None = None
    resume: bool = False
    settings: Sequence[str] = ()


def check_combination(given: TrainArguments) -> None:
    """Refuses arguments that exclude each other, and those that would have no effect.

    Raises:
        InputError: If there are such arguments.
    """
    if given.resume and given.out is None:
        raise InputError("--resume was given without --out.", remedy="Give the run to continue with --out.")
    if given.preset and given.backbone:
        raise InputError(
            "A preset and a backbone exclude each other.",
            remedy="Leave one of them out: a backbone replaces the preset.",
        )
    needed = (
        ("--new-head", given.new_head, "--init", given.init),
        ("--teacher-backbone", given.teacher_backbone, "--teacher", given.teacher or given.resume),
    )
    for name, value, other, needs in needed:
        if value and not needs:
            raise InputError(f"{name} was given without {other}.", remedy=f"Add {other}, or leave {name} out.")
    if given.windows and given.backbone:
        raise InputError(
            "--windows was given with a backbone of your own, which has no attention windows of arbex.",
            remedy="Leave --windows out.",
        )


def check_anchors(anchors: int | None, method: str) -> None:
    """Refuses a number of anchors for a method that has none.

    Raises:
        UnsupportedError: If the method is not known.
        InputError: If there is a number and the method has no anchors.
    """
    if anchors is not None and not method_class(method).anchored:
        able = ", ".join(name for name in METHODS if method_class(name).anchored)
        raise InputError(
            f"--anchors {anchors} was given, and the method {method!r} has no anchors.",
            allowed=f"Allowed with --anchors: {able}.",
            remedy="Leave --anchors out.",
        )


def check_twice(given: TrainArguments, texts: Iterable[str]) -> None:
    """Refuses a setting that was also given as an argument.

    Raises:
        InputError: If there is one.
    """
    for name in (split(text)[0] for text in texts):
        if name in ALSO_SETTINGS and getattr(given, name) is not None:
            raise InputError(
                f"{name} was given twice: as --{name} {getattr(given, name)}, and as a setting.",
                remedy="Leave one of them out.",
            )


def check_sources(given: TrainArguments) -> None:
    """Checks that the runs and files that a training starts from exist, before images are read.

    Raises:
        RunError: If one does not.
    """
    if given.teacher is not None:
        read_config(given.teacher)
    for path in given.init:
        if path.is_dir():
            read_config(path)
        elif not path.is_file():
            raise RunError(f"The run or weights file {path} (--init) does not exist.", remedy="Check the path.")


def what_it_needs(name: str, values: Mapping[str, object]) -> tuple[str, str] | None:
    """Returns what a setting has no effect without, and its usual value; None if it has one.

    Args:
        name: Name of a setting, or of an option of the method.
        values: All settings and options by their names.
    """
    other, *allowed = ONLY_WITH.get(name, ("", ""))
    if other and values[other] not in allowed:
        return other, allowed[0]
    other = ONLY_ABOVE_ZERO.get(name, "")
    return (other, "VALUE") if other and not values[other] else None


def check_effect(texts: Iterable[str], values: Mapping[str, object], *, teacher: bool) -> None:
    """Refuses settings and options that were given and would have no effect.

    Args:
        texts: What was given, ``name=value``.
        values: All settings and options by their names.
        teacher: Whether there is a teacher.

    Raises:
        InputError: If there is such a setting.
    """
    for name in (split(text)[0] for text in texts):
        missing = what_it_needs(name, values)
        if missing:
            other, value = missing
            raise InputError(
                f"The setting {name!r} has no effect, since {other} is {values[other]!r}.",
                remedy=f"Add --set {other}={value}, or leave {name} out.",
            )
        if name.startswith(TEACHING) and not teacher:
            raise InputError(
                f"The setting {name!r} has no effect without a teacher.",
                remedy=f"Add --teacher RUN, or leave {name} out.",
            )


def make_request(given: TrainArguments) -> TrainRequest:
    """Returns the request to train, with a new folder under ``runs/`` if none was given.

    Raises:
        InputError: If arguments exclude each other or have no effect, or a value cannot be used.
        UnsupportedError: If a preset, a method or a setting is not known.
        RunError: If there is no run to resume, to start from or to learn from.
    """
    check_combination(given)
    check_sources(given)
    run = read_config(given.out) if given.resume and given.out and given.out.is_dir() else None
    preset = chosen_preset(given, run)
    method = given.method or (run.method if run else METHOD)
    check_anchors(given.anchors, method)
    options, texts = chosen_options(given, run, method, preset)
    settings = chosen_settings(given, run.settings if run else PRESET_SETTINGS[preset], texts, options)
    anchors, side, windows, teacher = given.anchors, given.image_size, given.windows, given.teacher
    if run:
        teacher = teacher or stored_teacher(run)
        anchors = run.anchors if anchors is None else anchors
        side = run.preprocessing.image_size if side is None else side
        windows = windows or stored_windows(run)
    check_effect(given.settings, settings.to_json() | options.to_json(), teacher=teacher is not None)
    return TrainRequest(
        data=given.data,
        out=given.out or new_folder(preset, method),
        preset=preset,
        method=method,
        settings=settings,
        anchors=ANCHORS if anchors is None else anchors,
        image_size=side,
        resume=given.resume,
        windows=windows,
        init=given.init,
        new_head=given.new_head,
        teacher=teacher,
        backbone=given.backbone,
        teacher_backbone=given.teacher_backbone,
        devices=given.devices,
        method_options=options,
    )


def new_folder(preset: str | None, method: str | None) -> Path:
    """Returns a new folder under ``runs/``."""
    return Path("runs") / time.strftime(f"%Y%m%d-%H%M%S-{preset or PRESET}-{method or METHOD}")


def chosen_settings(
    given: TrainArguments, settings: TrainSettings, texts: Iterable[str], options: MethodOptions
) -> TrainSettings:
    """Returns settings with what the user gives.

    Args:
        given: What the user gives.
        settings: The settings of the preset, or of the run to resume.
        texts: The settings that the user gives, ``name=value``.
        options: Options of the method, which are known, too.

    Raises:
        InputError: If a value cannot be used, or was given twice.
        UnsupportedError: If a setting is not known.
    """
    settings = override(settings, texts, also=options.to_json())
    check_twice(given, texts)
    also = {name: getattr(given, name) for name in ALSO_SETTINGS}
    return replace(settings, **{name: value for name, value in also.items() if value is not None})


def chosen_preset(given: TrainArguments, run: RunConfig | None) -> str:
    """Returns the name of the preset, or what stands for a backbone of the user's own.

    Raises:
        UnsupportedError: If the preset is not known.
        InputError: If the run to resume has a backbone, which was not given.
    """
    if given.backbone:
        return CUSTOM
    if given.preset:
        check_name("preset", given.preset, PRESETS)
        return given.preset
    if run and isinstance(run.encoder, BackboneConfig):
        raise InputError(
            f"The run {given.out} was trained on the backbone {run.encoder.backbone}; resuming it needs that code.",
            remedy=f"If you trust that code, add: --backbone {run.encoder.backbone}.",
        )
    return run.preset if run else PRESET


def chosen_options(
    given: TrainArguments, run: RunConfig | None, method: str, preset: str
) -> tuple[MethodOptions, list[str]]:
    """Returns the options of the method, and those settings that are none of them.

    Raises:
        UnsupportedError: If the method is not known.
        InputError: If a value cannot be used.
    """
    options = method_class(method).usual_options(preset)
    if run and run.method == method:
        options = run.method_options
    return assign(options, given.settings)


def stored_windows(run: RunConfig) -> tuple[int, ...] | None:
    """Returns the attention windows of a run; None for a backbone of the user's own."""
    return None if isinstance(run.encoder, BackboneConfig) else run.encoder.all_windows


def stored_teacher(run: RunConfig) -> Path | None:
    """Returns the teacher of a run; None if it has none."""
    path = run.data.get("teacher_path")
    return Path(path) if path else None


def as_texts(settings: Mapping[str, object] | Sequence[str]) -> tuple[str, ...]:
    """Returns settings as ``name=value`` texts; a single text is one of them."""
    if isinstance(settings, str):
        return (settings,)
    if isinstance(settings, Mapping):
        return tuple(f"{name}={value}" for name, value in settings.items())
    return tuple(settings)

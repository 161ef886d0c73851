"""A request to train, and the configuration of the run that results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from arbex.checkpoint import CONFIG, RunConfig, read_config
from arbex.checks import check_name, check_range
from arbex.data.layouts import parse_source
from arbex.data.samples import FaceSet
from arbex.errors import InputError
from arbex.methods import METHODS, load_method, method_class
from arbex.methods.base import MethodOptions
from arbex.models import PRESETS, AnyEncoderConfig, CompactConfig, PyramidConfig
from arbex.models.custom import PRESET, BackboneConfig, import_backbone, measure
from arbex.models.head import ANCHORS
from arbex.settings import TrainSettings
from arbex.spec import Preprocessing
from arbex.training.devices import fitting_precision

MOST_ANCHORS = 1000
"""Largest number of anchors per class; the paper tries 0 to 20."""

LEAST_SIDE, LARGEST_SIDE = 16, 4096
"""Smallest and largest side of the input in pixels."""

CUSTOM_SIZE = 224
"""Side of the input in pixels for a custom backbone, unless the user gives another."""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """A request to train a model.

    Attributes:
        data: Data set, ``PATH`` or ``LAYOUT:PATH``.
        out: Folder of the run.
        preset: Name of a preset; with a backbone, ``custom``.
        method: Name of a method.
        settings: Settings of the training.
        anchors: Number of anchors per class.
        image_size: Side of the input in pixels; by default that of the preset.
        resume: Whether to continue the run in ``out``.
        windows: Side of the attention window at each level, in map cells; by default those of the preset. ``base`` has
            three levels, the other presets one.
        init: Runs, or files of published weights, to start from; a later one replaces what earlier ones gave.
        new_head: Whether to take only the encoder from ``init``.
        teacher: Run to distill from.
        backbone: Custom backbone in place of the encoder, as ``package.module:callable``.
        teacher_backbone: Custom backbone of the teacher, if it has one.
        devices: Number of processes on this machine; by default those that ``torchrun`` started, otherwise one.
        method_options: Options of the method; by default those that are usual for the preset.
    """

    data: str
    out: Path
    preset: str
    method: str
    settings: TrainSettings
    anchors: int = ANCHORS
    image_size: int | None = None
    resume: bool = False
    windows: tuple[int, ...] | None = None
    init: tuple[Path, ...] = ()
    new_head: bool = False
    teacher: Path | None = None
    backbone: str | None = None
    teacher_backbone: str | None = None
    devices: int | None = None
    method_options: MethodOptions | None = None

    def __post_init__(self) -> None:
        """Checks the preset, the number of anchors and the size of the input.

        Raises:
            UnsupportedError: If the preset is not known.
            InputError: If a number is out of its range.
        """
        if not self.backbone:
            check_name("preset", self.preset, PRESETS)
        check_range("anchors", self.anchors, 0, MOST_ANCHORS)
        if self.image_size is not None:
            check_range("image_size", self.image_size, LEAST_SIDE, LARGEST_SIDE)

    @property
    def options(self) -> MethodOptions:
        """Options of the method.

        Raises:
            UnsupportedError: If the method is not known.
        """
        preset = PRESET if self.backbone else self.preset
        return self.method_options or method_class(self.method).usual_options(preset)

    @property
    def side(self) -> int:
        """Side of the input in pixels."""
        return self.image_size or (CUSTOM_SIZE if self.backbone else PRESETS[self.preset].image_size)


def adapted(request: TrainRequest) -> TrainRequest:
    """Returns the request with the settings that the method prescribes.

    Raises:
        UnsupportedError: If the method is not known.
        InputError: If the method needs a teacher and none was given, or settings exclude each other.
    """
    method = load_method(request.method, request.options)
    if method.needs_teacher and request.teacher is None:
        raise InputError(
            f"The method {request.method!r} learns from the answers of a trained model, and none was given.",
            remedy="Train one first, for example with --method poster, and give its run with --teacher.",
        )
    if (request.settings.mixup or request.settings.cutmix) and not method.mixes:
        able = [name for name in METHODS if method_class(name).mixes]
        raise InputError(
            f"The method {request.method!r} judges each image by itself and cannot learn from mixed ones.",
            allowed=f"Allowed with mixup or cutmix: {', '.join(able)}.",
            remedy="Leave mixup and cutmix at 0.",
        )
    if (request.settings.mixup or request.settings.cutmix) and request.settings.early_learning:
        raise InputError(
            f"early_learning is {request.settings.early_learning:g}, and images are mixed: an answer to a mixed image "
            "is none to remember.",
            remedy="Leave mixup and cutmix at 0, or early_learning.",
        )
    settings = method.adapt(request.settings)
    if settings.early_learning and request.teacher is not None and settings.distil_share == 1:
        raise InputError(
            f"early_learning is {settings.early_learning:g}, and the teacher's answers replace all labels: there is no "
            "loss for it to add to.",
            remedy="Leave early_learning at 0, or let the labels have a share of the loss (distil_share).",
        )
    return replace(request, settings=settings)


def with_precision(request: TrainRequest) -> TrainRequest:
    """Returns the request with the precision that ``auto`` stands for: a resumed run keeps its own."""
    if request.settings.precision != "auto":
        return request
    stored = request.resume and (request.out / CONFIG).is_file()
    precision = read_config(request.out).settings.precision if stored else fitting_precision()
    return replace(request, settings=replace(request.settings, precision=precision))


def make_config(request: TrainRequest, faces: FaceSet, origins: dict[str, str], *, landmarks: bool) -> RunConfig:
    """Returns the configuration of a run.

    Args:
        request: The request.
        faces: The training split as it was found.
        origins: Digests of the weights that the run starts from.
        landmarks: Whether they include trained weights of the landmark backbone.

    Raises:
        InputError: If image size, windows or backbone do not fit.
    """
    return RunConfig(
        preset=PRESET if request.backbone else request.preset,
        method=request.method,
        labels=faces.labels,
        encoder=backbone_config(request) if request.backbone else encoder_config(request, landmarks=landmarks),
        anchors=request.anchors,
        preprocessing=Preprocessing(request.side),
        settings=request.settings,
        data={"path": str(parse_source(request.data).absolute()), "train_digest": faces.digest, **origins},
        method_options=request.options,
    )


def backbone_config(request: TrainRequest) -> BackboneConfig:
    """Returns the configuration of the custom backbone, which is built for this."""
    name = request.backbone or ""
    with torch.random.fork_rng(devices=[]):
        return measure(name, import_backbone(name), request.side)[1]


def encoder_config(request: TrainRequest, *, landmarks: bool) -> AnyEncoderConfig:
    """Returns the encoder of the preset, adapted to the requested image size and windows.

    Raises:
        InputError: If they do not fit.
    """
    preset, size = PRESETS[request.preset], request.side
    windows = chosen_windows(request, preset)
    if isinstance(preset, CompactConfig):
        return replace(preset, image_size=size, window=windows[0])
    # A landmark backbone without trained weights must learn with the rest: frozen, it would stay random.
    frozen = preset.freeze_landmarks and landmarks
    if isinstance(preset, PyramidConfig):
        return replace(preset, image_size=size, freeze_landmarks=frozen)
    one, two, three = windows
    return replace(preset, image_size=size, windows=(one, two, three), freeze_landmarks=frozen)


def listed(numbers: tuple[int, ...]) -> str:
    """Returns numbers as ``--windows`` takes them."""
    return ",".join(map(str, numbers))


def chosen_windows(request: TrainRequest, preset: AnyEncoderConfig) -> tuple[int, ...]:
    """Returns the requested windows, or those of the preset, which grow with the image.

    Raises:
        InputError: If the image size or the windows do not fit the preset.
    """
    size, step = request.side, preset.size_step
    grown = [w * size / preset.image_size for w in preset.all_windows]
    if size % step or (not request.windows and any(w != int(w) or w < 1 for w in grown)):
        raise InputError(
            f"image_size is {size}, which does not fit the preset {request.preset!r}.",
            allowed=f"Allowed: {preset.image_size}, and multiples of {step} that scale its windows "
            f"({listed(preset.all_windows)}) to whole cells.",
        )
    windows = request.windows or tuple(int(w) for w in grown)
    sides = replace(preset, image_size=size).window_maps
    if len(windows) != len(sides) or any(w < 1 or side % w for w, side in zip(windows, sides, strict=True)):
        raise InputError(
            f"The windows {listed(windows)} do not fit maps of {listed(sides)} cells.",
            allowed=f"Allowed: as many as maps ({len(sides)}), each of which divides the side of its map.",
        )
    return windows

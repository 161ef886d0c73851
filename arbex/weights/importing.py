"""Making a run from a published checkpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from arbex.checkpoint import BEST, LAST, METRICS, RunConfig, build_model, write_config, write_weights
from arbex.errors import InputError
from arbex.files import staged_folder, write_atomically
from arbex.methods import load_method
from arbex.models import BASE, EncoderConfig, PyramidConfig
from arbex.models.head import ANCHORS
from arbex.models.presets import POSTER
from arbex.settings import PRESET_SETTINGS
from arbex.spec import EXPRESSIONS, Preprocessing, digest_file
from arbex.weights.matching import PYRAMID, Matching, Source, fill, recognize
from arbex.weights.public_names import ENCODER
from arbex.weights.torch_file import WeightsFile, read_weights_file

CLASSIFIERS = ("VIT.head.linear.weight", "head.linear.weight")
"""Names of the classifiers of POSTER++ and POSTER."""

FIRST_CONVOLUTIONS = ("encoder.image.stem.0.weight", "encoder.landmarks.stem.0.0.weight")
RAF_DB = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""Classes in the order of RAF-DB's folders 1 to 7, on which the best-known checkpoints were trained."""


@dataclass(frozen=True)
class Imported:
    """Result of an import.

    Attributes:
        run: Folder of the new run.
        matching: Assignment of the file's tensors to those of the model.
        labels: Class names of the run.
        trained: Whether encoder and classifier are both trained; a backbone alone gives an untrained run.
    """

    run: Path
    matching: Matching
    labels: tuple[str, ...]
    trained: bool


class LabelsWantedError(InputError):
    """A checkpoint has a classifier, and the names of its classes were not given."""

    def __init__(self, file: Path, classes: int) -> None:
        """Asks for as many names as the classifier has outputs.

        Args:
            file: The checkpoint.
            classes: Number of outputs of its classifier.
        """
        self.classes = classes
        super().__init__(
            f"{file} has {classes} classes, and does not say in which order.",
            allowed=f"Allowed: {classes} different names.",
            remedy="Give the names with --labels, in the order of the folders that it was trained on. For the 7 "
            f"classes of RAF-DB that is: --labels {','.join(RAF_DB)}.",
        )


def import_weights(path: Path, out: Path, *, labels: tuple[str, ...] | None = None, bgr: bool = False) -> Imported:
    """Writes a run with the weights of POSTER++ or POSTER, or of IR50 or MobileFaceNet for preset ``base``.

    A whole checkpoint gives a trained run of method ``poster``. A backbone gives an untrained run of method ``arbex``,
    to start a training from.

    Args:
        path: The checkpoint.
        out: Folder of the run, which must be empty or not exist.
        labels: Class names in the order of the classifier's outputs.
        bgr: Whether it was trained on images whose first channel is blue, as POSTER's public code does for RAF-DB. The
            run takes RGB images and gives the same answers.

    Raises:
        LabelsWantedError: If the checkpoint has a classifier and ``labels`` are missing.
        RunError: If the checkpoint cannot be read, or does not fit.
        InputError: If ``labels`` or ``out`` cannot be used.
    """
    file = read_weights_file(path)
    source = recognize(file)
    preset, encoder = fitting_encoder(file, source)
    whole = source.covers == ENCODER
    labels = choose_labels(file, labels)
    method = "poster" if whole else "arbex"
    config = RunConfig(
        preset=preset,
        method=method,
        method_options=load_method(method).options,
        labels=labels,
        encoder=encoder,
        anchors=ANCHORS,
        preprocessing=exchanged(Preprocessing(encoder.image_size)) if bgr else Preprocessing(encoder.image_size),
        settings=PRESET_SETTINGS[preset],
        data={"weights": path.name, "weights_digest": digest_file(path)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.settings.seed)
        model = build_model(config)
    matching = fill(model, file)
    if bgr:
        exchange_channels(model)
    trained = all(name in matching.tensors for name in model.state_dict() if name.startswith("head."))
    metadata = {"epoch": str((file.epoch or 1) if trained else 0)}
    with staged_folder(out) as stage:
        for name in (BEST, LAST):
            write_weights(stage / name, model.state_dict(), metadata)
        write_atomically(stage / METRICS, "")
        write_config(stage, config)
    return Imported(out, matching, labels, trained)


def fitting_encoder(file: WeightsFile, source: Source) -> tuple[str, EncoderConfig | PyramidConfig]:
    """Returns the preset that a checkpoint fits, and its encoder as the tensors of the file ask for it."""
    if source.name != PYRAMID:
        return "base", replace(BASE, freeze_landmarks=source.brings_landmarks)
    blocks = [int(found[1]) for name in file.tensors if (found := re.match(r"pyramid_fuse\.blocks\.(\d+)\.", name))]
    mixing = "pyramid_fuse.blocks.0.block_l.conv.weight" in file.tensors
    return "poster-v1", replace(POSTER, depth=1 + max(blocks, default=0), token_mixing=mixing)


def exchanged(preprocessing: Preprocessing) -> Preprocessing:
    """Returns the preprocessing of RGB images for a model whose training gave blue the mean and deviation of red."""
    return replace(preprocessing, mean=preprocessing.mean[::-1], std=preprocessing.std[::-1])


def exchange_channels(model: nn.Module) -> None:
    """Exchanges red and blue in both first convolutions of a model, in place."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in FIRST_CONVOLUTIONS:
                weight.copy_(weight.flip(1))


def choose_labels(file: WeightsFile, labels: tuple[str, ...] | None) -> tuple[str, ...]:
    """Returns the class names of the run, checked against the classifier of the checkpoint if it has one.

    Raises:
        LabelsWantedError: If it has one and ``labels`` are missing.
        InputError: If ``labels`` cannot be used.
    """
    if labels is not None and (len(labels) < 2 or len(set(labels)) != len(labels) or not all(labels)):
        raise InputError(f"--labels is {','.join(labels)}.", allowed="Allowed: 2 or more different names.")
    found = [file.tensors[name] for name in CLASSIFIERS if name in file.tensors]
    if not found:
        return labels or EXPRESSIONS
    classes = len(found[0])
    if labels is None:
        raise LabelsWantedError(file.path, classes)
    if len(labels) != classes:
        raise InputError(
            f"--labels has {len(labels)} names; the classifier in {file.path} has {classes} outputs.",
            allowed=f"Allowed: {classes} different names.",
        )
    return labels

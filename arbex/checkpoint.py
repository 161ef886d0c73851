"""A training run on disk, and the model in it.

The files are JSON and safetensors, so that no code runs when they are read.

RUN/config.json         model, method, settings and data of the training
RUN/best.safetensors    weights of the best epoch on validation (metadata: epoch, accuracy, temperatures, threshold)
RUN/last.safetensors    weights of the last epoch
RUN/metrics.jsonl       one line per epoch
RUN/resume.safetensors  weights, optimizer and epoch together, for --resume
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from arbex import __version__
from arbex.errors import RunError
from arbex.files import write_atomically
from arbex.methods import load_method, read_options
from arbex.methods.base import MethodOptions
from arbex.models import AnyEncoderConfig, ExpressionClassifier, make_encoder
from arbex.models.custom import PRESET, Backbone, BackboneConfig, import_backbone, measure
from arbex.models.head import Temperatures
from arbex.models.presets import read_encoder_config
from arbex.settings import TrainSettings
from arbex.spec import Preprocessing, digest_file

SCHEMA = 1
CONFIG, BEST, LAST = "config.json", "best.safetensors", "last.safetensors"
RESUME, METRICS = "resume.safetensors", "metrics.jsonl"
TEMPERATURES, THRESHOLD = "temperatures", "threshold"
"""Names of metadata of the best weights that calibration gives."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Configuration of a run, from which its model can be built.

    Attributes:
        preset: Name of the encoder's preset, ``custom`` for a backbone of the user's own.
        method: Name of the method.
        labels: Class names in the order of the outputs.
        encoder: Shape of the encoder.
        anchors: Anchors per class.
        preprocessing: How images become the input.
        settings: Settings of the training.
        method_options: Options of the method.
        data: Path and identity of the training data.
    """

    preset: str
    method: str
    labels: tuple[str, ...]
    encoder: AnyEncoderConfig | BackboneConfig
    anchors: int
    preprocessing: Preprocessing
    settings: TrainSettings
    method_options: MethodOptions
    data: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return {
            "schema": SCHEMA,
            "arbex": __version__,
            "preset": self.preset,
            "method": self.method,
            "method_options": self.method_options.to_json(),
            "labels": list(self.labels),
            "encoder": self.encoder.to_json(),
            "anchors": self.anchors,
            "preprocessing": self.preprocessing.to_json(),
            "settings": self.settings.to_json(),
            "data": dict(self.data),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunConfig:
        """Builds the value from what ``to_json`` returned.

        Raises:
            RunError: If another version wrote it, with another schema.
        """
        if value["schema"] != SCHEMA:
            raise RunError(
                f"The run has schema {value['schema']}.",
                allowed=f"Allowed: {SCHEMA}.",
                remedy="Install the version of arbex that wrote it, or train again.",
            )
        return cls(
            preset=value["preset"],
            method=value["method"],
            labels=tuple(value["labels"]),
            encoder=(BackboneConfig.from_json if value["preset"] == PRESET else read_encoder_config)(value["encoder"]),
            anchors=value["anchors"],
            preprocessing=Preprocessing.from_json(value["preprocessing"]),
            settings=TrainSettings.from_json(value["settings"]),
            data=dict(value["data"]),
            method_options=read_options(value["method"], value.get("method_options", {})),
        )


@dataclass(frozen=True)
class Calibration:
    """What is fitted to validation images after training, as metadata of the best weights.

    Attributes:
        temperatures: What the logits are divided by.
        threshold: Confidence below which an answer counts as unsure, in [0, 1]; None if every answer counts.
        done: Whether the training has come to its end, where this is fitted.
    """

    NAMES: ClassVar = (TEMPERATURES, THRESHOLD)

    temperatures: Temperatures = Temperatures()
    threshold: float | None = None
    done: bool = False

    def to_metadata(self) -> dict[str, str]:
        """Returns texts by name that ``from_metadata`` reads back."""
        threshold = {} if self.threshold is None else {THRESHOLD: repr(self.threshold)}
        return {TEMPERATURES: json.dumps(self.temperatures), **threshold}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Calibration:
        """Builds the value from metadata, of which other entries are ignored and missing ones have their default.

        Raises:
            ValueError, TypeError: If an entry is damaged.
        """
        temperatures = Temperatures(*map(float, json.loads(metadata.get(TEMPERATURES, "[]"))))
        if not all(math.isfinite(t) and t > 0 for t in temperatures):
            raise ValueError(f"the temperatures {tuple(temperatures)} are not all positive numbers")
        threshold = float(metadata[THRESHOLD]) if THRESHOLD in metadata else None
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"the threshold {threshold} is not between 0 and 1")
        return cls(temperatures, threshold, TEMPERATURES in metadata)


def build_model(config: RunConfig, backbone: Backbone | str | None = None) -> ExpressionClassifier:
    """Returns a freshly initialized model.

    Args:
        config: What to build.
        backbone: Custom backbone of the run: the callable that builds it, or its name, which must be the one recorded
            in the run. A name in a file alone never makes code run.

    Raises:
        RunError: If the backbone is missing, or is not the run's.
    """
    encoder = build_encoder(config.encoder, backbone)
    out_features = config.encoder.out_features
    method = load_method(config.method, config.method_options)
    head = method.build_head(out_features, len(config.labels), anchors=config.anchors)
    return ExpressionClassifier(encoder, head, config.labels, config.preprocessing, method.build_regions())


def build_encoder(config: AnyEncoderConfig | BackboneConfig, backbone: Backbone | str | None) -> nn.Module:
    """Returns the encoder of a run, or the custom backbone in its place.

    Raises:
        RunError: If the backbone is not given, or is not the one in the configuration.
        InputError: If it cannot be imported, or does not map images to vectors.
    """
    if not isinstance(config, BackboneConfig):
        if backbone is not None:
            raise RunError(
                "The run was trained with a preset, and has no backbone of its own.", remedy="Leave --backbone out."
            )
        return make_encoder(config)
    if backbone is None or (isinstance(backbone, str) and backbone != config.backbone):
        named = f", not {backbone}" if backbone else ""
        raise RunError(
            f"The run was trained on the backbone {config.backbone}{named}; loading it needs that code.",
            remedy=f"If you trust that code, add: --backbone {config.backbone} (in Python: load_run(…, backbone=…)).",
        )
    factory = import_backbone(backbone) if isinstance(backbone, str) else backbone
    module, found = measure(config.backbone, factory, config.image_size)
    if found != config:
        raise RunError(
            f"The backbone {config.backbone} returns vectors of {found.out_features} features; the run needs "
            f"{config.out_features}.",
            remedy="Use the code that the run was trained with.",
        )
    return module


def write_config(run: Path, config: RunConfig) -> None:
    """Writes ``config.json``."""
    write_atomically(run / CONFIG, json.dumps(config.to_json(), indent=2) + "\n")


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors and metadata in one step: an interruption leaves either the old file or the new one."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(contiguous, dict(metadata)))


def read_config(run: Path) -> RunConfig:
    """Reads ``config.json``.

    Raises:
        RunError: If ``run`` is not a run, or one of its files is missing or damaged.
    """
    if not run.is_dir():
        raise RunError(
            f"The run {run} does not exist.",
            remedy="Train one with: arbex train --data DATA --out RUN, or give another path.",
        )
    missing = [name for name in (CONFIG, BEST) if not (run / name).is_file()]
    if missing:
        raise RunError(
            f"{run} is not a complete run: {missing[0]} is missing.",
            remedy="Copy the whole folder again, finish the training with --resume, or train again.",
        )
    try:
        return RunConfig.from_json(json.loads((run / CONFIG).read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # JSON and UTF-8 errors are ValueErrors
        raise RunError(
            f"{run / CONFIG} is damaged: {type(error).__name__}: {error}.",
            remedy="Copy the run again, or train again.",
        ) from error


def damaged(path: Path, error: Exception) -> RunError:
    """Returns the error for a damaged file of weights."""
    return RunError(f"{path} is damaged: {error}.", remedy="Copy the run again, or train again.")


def read_metadata(path: Path) -> dict[str, str]:
    """Reads only the metadata of a safetensors file.

    Raises:
        RunError: If the file is damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as stream:
            return dict(stream.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors file.

    Raises:
        RunError: If the file is damaged.
    """
    try:
        tensors: dict[str, Tensor] = load_file(str(path))
        return tensors
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error


@dataclass(frozen=True)
class Run:
    """A run on disk.

    Attributes:
        path: Its folder.
        config: Its configuration.
        epoch: Epoch of the weights; 0 if they are untrained.
        digest: SHA-256 of ``best.safetensors``.
        accuracy: Validation accuracy of that epoch, in [0, 1]; NaN if it was not measured.
        calibration: What was fitted to validation images after training.
    """

    path: Path
    config: RunConfig
    epoch: int
    digest: str
    accuracy: float = math.nan
    calibration: Calibration = field(default_factory=Calibration)

    @property
    def warnings(self) -> list[str]:
        """What whoever uses the weights should know."""
        if not self.epoch:
            return [f"warning: {self.path} is untrained; its answers are random"]
        if self.calibration.done or not (self.path / RESUME).is_file():
            return []
        return [
            f"warning: {self.path} is not calibrated, since its training has not come to its end, or an earlier "
            "version of arbex did it; arbex train --data DATA --out RUN --resume makes up for that"
        ]


def open_run(path: str | Path) -> Run:
    """Reads everything about a run except its weights.

    Raises:
        RunError: If the run is missing, incomplete or damaged.
    """
    run = Path(path)
    config = read_config(run)
    metadata = read_metadata(run / BEST)
    try:
        epoch, accuracy = int(metadata.get("epoch", 0)), float(metadata.get("val_accuracy", math.nan))
        return Run(run, config, epoch, digest_file(run / BEST), accuracy, Calibration.from_metadata(metadata))
    except (ValueError, TypeError) as error:
        raise damaged(run / BEST, error) from error


def load_run(path: str | Path, *, backbone: Backbone | str | None = None) -> ExpressionClassifier:
    """Returns the model of a run with its best weights, in eval mode, with ``.labels`` and ``.preprocessing``.

    Args:
        path: Folder of the run.
        backbone: Custom backbone of the run: the callable that builds it, or its name.

    Raises:
        RunError: If the run is missing, incomplete or damaged, or the weights do not fit its configuration.
    """
    run = Path(path)
    opened = open_run(run)
    config = opened.config
    tensors = read_weights(run / BEST)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn; the caller's generator stays as it is
        model = build_model(config, backbone)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(
            f"The weights in {run / BEST} do not fit {run / CONFIG}: {str(error).splitlines()[-1].strip()}",
            remedy="Both files must come from the same training.",
        ) from error
    model.head.temperatures = opened.calibration.temperatures
    return model.eval()


def newest_run(root: Path = Path("runs")) -> Path:
    """Returns the most recently written run under ``root``.

    Raises:
        RunError: If there is no complete run.
    """
    # Hidden folders are leftovers of processes that were killed.
    runs = [p.parent for p in root.glob(f"[!.]*/{CONFIG}") if (p.parent / BEST).is_file()]
    if not runs:
        raise RunError(
            f"No RUN was given, and there is no complete run under {root}/.",
            remedy="Train one with: arbex train --data DATA, or give its path.",
        )
    return max(runs, key=lambda run: (run / BEST).stat().st_mtime)

"""``manifest.json``: what a bundle says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from arbex.errors import BundleError
from arbex.spec import INPUT_NAME, OUTPUT_NAMES, Preprocessing

SCHEMA = 1
NAME = "manifest.json"
FORMATS = ("onnx", "tflite", "mlpackage", "rtx-engine", "tensorrt-engine")


@dataclass(frozen=True)
class Thresholds:
    """What parity with PyTorch an artifact must show; nothing means not checked.

    Attributes:
        max_abs_error: Largest absolute difference in any output.
        mean_kl: Mean of KL(PyTorch, artifact) of ``corrected``, in nats; on fewer than 1,000 images violated where
            what was measured exceeds it by more than its 95 % error, or by more than itself.
        top1_agreement: Share of images with the same most probable class; on fewer than 1,000 images
            violated where the 95 % interval of what was measured lies below it.
    """

    max_abs_error: float | None = None
    mean_kl: float | None = None
    top1_agreement: float | None = None

    def adjusted(self, *, mean_kl: float | None, top1_agreement: float | None) -> Thresholds:
        """Returns the thresholds with other limits where any are given, also of what was not checked before.

        Args:
            mean_kl: Limit instead of these thresholds' own, in nats; None keeps the own one.
            top1_agreement: Likewise, a share in [0, 1].
        """
        return Thresholds(
            self.max_abs_error,
            self.mean_kl if mean_kl is None else mean_kl,
            self.top1_agreement if top1_agreement is None else top1_agreement,
        )


@dataclass(frozen=True)
class Artifact:
    """One executable file (or ``.mlpackage`` folder) of a bundle.

    Attributes:
        file: Path in the bundle.
        format: ``onnx``, ``tflite``, ``mlpackage``, ``rtx-engine`` or ``tensorrt-engine``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        thresholds: What parity it must show.
        content: What a file that nothing here executes holds, to be compared after reading it back.
        work: Of an int8 file: multiply-adds in all (``macs``) and in integers (``int8_macs``), ``islands`` of
            float with their reasons, and what is ``elementwise`` in float between layers.
    """

    file: str
    format: str
    precision: str
    thresholds: Thresholds
    content: Mapping[str, Any] = field(default_factory=dict)
    work: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """File name, as reports show it."""
        return self.file.rpartition("/")[2]


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and sha-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Content of ``manifest.json``.

    Attributes:
        target: Device family.
        labels: Class names in the order of the outputs.
        preprocessing: How images become the input.
        artifacts: What can be run.
        provenance: Checkpoint, calibration, recipe, tool versions.
        files: Every other file of the bundle by its path.
    """

    target: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    artifacts: tuple[Artifact, ...]
    provenance: Mapping[str, Any]
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        side, classes = self.preprocessing.image_size, len(self.labels)
        shapes = {"corrected": ["batch", classes], "primary": ["batch", classes], "confidence": ["batch"]}
        return {
            "schema": SCHEMA,
            "target": self.target,
            "labels": list(self.labels),
            "input": {
                "name": INPUT_NAME,
                "dtype": "uint8",
                "layout": "NHWC",
                "shape": ["batch", side, side, 3],
            },
            "outputs": [{"name": n, "dtype": "float32", "shape": shapes[n]} for n in OUTPUT_NAMES],
            "preprocessing": self.preprocessing.to_json(),
            "artifacts": [asdict(a) for a in self.artifacts],
            "provenance": dict(self.provenance),
            "files": {name: asdict(record) for name, record in sorted(self.files.items())},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Manifest:
        """Builds the value from what ``to_json`` returned.

        Raises:
            BundleError: If the schema is another.
            KeyError, TypeError, ValueError: If something is missing or has the wrong type.
        """
        if value["schema"] != SCHEMA:
            raise BundleError(
                f"The bundle has schema {value['schema']}.",
                allowed=f"This version reads schema {SCHEMA}.",
                remedy="Export it again, or install the version that wrote it.",
            )
        artifacts = tuple(
            Artifact(
                str(a["file"]),
                str(a["format"]),
                str(a["precision"]),
                Thresholds(**a["thresholds"]),
                dict(a["content"]),
                dict(a.get("work", {})),
            )
            for a in value["artifacts"]
        )
        strange = [a.format for a in artifacts if a.format not in FORMATS]
        if strange:
            raise ValueError(f"the format {strange[0]!r} is not known")
        files = {str(n): FileRecord(int(r["size"]), str(r["sha256"])) for n, r in value["files"].items()}
        return cls(
            target=str(value["target"]),
            labels=tuple(str(name) for name in value["labels"]),
            preprocessing=Preprocessing.from_json(value["preprocessing"]),
            artifacts=artifacts,
            provenance=dict(value["provenance"]),
            files=files,
        )

    def dump(self) -> str:
        """Returns the text of the file."""
        return json.dumps(self.to_json(), indent=2) + "\n"

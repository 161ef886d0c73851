"""``manifest.json``, the description of a bundle, as frozen values with one reader and one writer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import GenericAlias
from typing import TYPE_CHECKING, Any, get_args, get_origin

from arbex.errors import BundleError
from arbex.provenance import Provenance, Work
from arbex.spec import INPUT_NAME, OUTPUT_NAMES, Preprocessing
from runtimes.limits import Limits

if TYPE_CHECKING:
    from cattrs import Converter

SCHEMA = 2
NAME = "manifest.json"
ROOT = "manifest"
"""Name of the root in messages about damaged content."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits of an artifact's distance to PyTorch and to its program; a limit that is None is not checked.

    Those of images are limits of the figures of the same names in ``runtimes.parity.Parity``. On a sample of images, a
    limit holds if the figure's whole 95 % interval does.

    Attributes:
        max_abs_error: Largest absolute difference in any output, on images and on golden vectors.
        mean_kl: Largest mean of KL(PyTorch, artifact) of ``corrected``, in nats.
        top1_agreement: Smallest share of images with the same most probable class, in [0, 1], of all images and of each
            group.
        confidence_rank_correlation: Smallest rank correlation of ``confidence``, in [-1, 1].
        confidence_flips: Largest share of images whose ``confidence`` crosses the threshold that 90 % of the images
            exceed, in [0, 1].
        ece_delta: Largest change of the expected calibration error.
        recall_change: Smallest change of the recall of a class or of a group, negative for a loss.
        golden_kl: The same as ``mean_kl`` for the golden vectors, which are no sample.
        program_kl: Largest mean of KL(program, artifact) of ``corrected`` on the golden vectors, in nats, where the
            program is the calibrated one as integer kernels compute it.
    """

    max_abs_error: float | None = None
    mean_kl: float | None = None
    top1_agreement: float | None = None
    confidence_rank_correlation: float | None = None
    confidence_flips: float | None = None
    ece_delta: float | None = None
    recall_change: float | None = None
    golden_kl: float | None = None
    program_kl: float | None = None

    @property
    def golden(self) -> Thresholds:
        """The limits for golden vectors: those are chosen, so that no share of them means anything."""
        return Thresholds(max_abs_error=self.max_abs_error, mean_kl=self.golden_kl)

    def overridden(self, limits: Limits) -> Thresholds:
        """Returns the thresholds with the given limits in place of their own."""
        return replace(self, **limits)


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """Distance between two sets of answers, or the largest one that is allowed.

    Attributes:
        typical_error: Median over images of the largest difference in an output; of the three outputs, the one where it
            is largest. A value on the border between two integers may round either way, and then changes the answers to
            a single image much more. As a limit, None stands for no limit.
        mean_kl: Mean KL divergence of ``corrected`` in nats.
        primary_mean_kl: Mean KL divergence of ``primary`` in nats.
        confidence_error: Mean absolute difference of ``confidence``.
    """

    typical_error: float | None
    mean_kl: float
    primary_mean_kl: float
    confidence_error: float


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What ran an artifact when it was exported; its answers are among the golden vectors.

    Attributes:
        runtime: Name of the runtime.
        version: Version of the runtime's package.
        exact: Whether values that the file declares in float16 stayed in float32.
        limits: How far the artifact may be from those answers in the same runtime. The typical error counts only if the
            version is the same as well.
    """

    runtime: str
    version: str
    exact: bool
    limits: Deviation


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One executable file (or folder) of a bundle.

    Attributes:
        file: Path in the bundle.
        format: Name of its format.
        precision: ``fp32``, ``fp16`` or ``int8``.
        thresholds: Limits of its parity with PyTorch.
        content: Recorded content of the file, to be compared with what is read back from it; empty for formats whose
            files are judged by their answers alone.
        work: What an INT8 file computes in integers; None for other precisions.
        recorded: What ran it when it was exported; None if nothing did.
    """

    file: str
    format: str
    precision: str
    thresholds: Thresholds
    content: Mapping[str, Any] = field(default_factory=dict)
    work: Work | None = None
    recorded: Recorded | None = None

    @property
    def name(self) -> str:
        """File name, as reports show it."""
        return self.file.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size and digest of one file of a bundle.

    Attributes:
        size: Size in bytes.
        sha256: SHA-256 of its bytes, as 64 hexadecimal digits.
    """

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Content of ``manifest.json``.

    Attributes:
        target: Name of the device family.
        labels: Class names in the order of the outputs.
        preprocessing: How images become the input.
        artifacts: What can be run.
        provenance: Where they came from.
        compute_capability: Compute capability of the NVIDIA GPU that compiles the ONNX files; empty for other devices.
        confidence_threshold: Value of ``confidence`` below which an answer counts as unsure, in [0, 1]; None if every
            answer counts. It was chosen in training, on validation images.
        files: All files of the bundle except the manifest, by path.
    """

    target: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    artifacts: tuple[Artifact, ...]
    provenance: Provenance
    compute_capability: str = ""
    confidence_threshold: float | None = None
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON object that ``from_json`` reads back, with a description of inputs and outputs."""
        side, classes = self.preprocessing.image_size, len(self.labels)
        shapes = {"corrected": ["batch", classes], "primary": ["batch", classes], "confidence": ["batch"]}
        image = {"name": INPUT_NAME, "dtype": "uint8", "layout": "NHWC", "shape": ["batch", side, side, 3]}
        outputs = [{"name": name, "dtype": "float32", "shape": shapes[name]} for name in OUTPUT_NAMES]
        return {"schema": SCHEMA, "input": image, "outputs": outputs, **json_converter().unstructure(self)}

    @classmethod
    def from_json(cls, value: Any) -> Manifest:
        """Builds the value from what ``to_json`` returned.

        Raises:
            BundleError: If the schema is not supported, or something is missing or of the wrong type.
        """
        if not isinstance(value, dict):
            raise BundleError("The manifest is not a JSON object.")
        if value.get("schema") != SCHEMA:
            raise BundleError(
                f"The manifest has schema {value.get('schema')!r}.",
                allowed=f"Allowed: {SCHEMA}.",
            )
        from cattrs import BaseValidationError, transform_error

        try:
            return json_converter().structure(value, cls)
        except BaseValidationError as error:
            raise BundleError(f"The manifest is damaged: {'; '.join(transform_error(error, ROOT))}.") from error

    def dump(self) -> str:
        """Returns the text of the file."""
        return json.dumps(self.to_json(), indent=2) + "\n"


def exact(value: Any, kind: Any) -> Any:
    """Returns a JSON value of the expected type; whole numbers count as floats.

    Raises:
        TypeError: If it has another type.
    """
    allowed = (int, float) if kind is float else (kind,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return kind(value)


@cache
def json_converter() -> Converter:
    """Returns the converter between the manifest's values and JSON, which never changes the type of a value."""
    from cattrs import Converter  # here, since the limits of targets are needed for the help screens

    converter = Converter()
    for kind in (str, int, float, bool):
        converter.register_structure_hook(kind, exact)

    def read_list(value: Any, kind: Any) -> tuple[Any, ...]:
        entries: Any = GenericAlias(list, get_args(kind)[:1])
        return tuple(converter.structure(exact(value, list), entries))

    # Without this, cattrs reads the letters of a string where a list of strings is expected.
    converter.register_structure_hook_func(is_list, read_list)
    return converter


def is_list(kind: Any) -> bool:
    """Tells whether a type is a tuple of any length, which JSON holds as a list."""
    return get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis

"""What a training starts from: the weights of other runs, or of published files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from arbex.checkpoint import BEST, RunConfig, read_config
from arbex.models import EncoderConfig
from arbex.weights.matching import Matching, fill, recognize
from arbex.weights.public_names import ENCODER
from arbex.weights.torch_file import WeightsFile, read_weights_file

HEAD = "head."
SHOWN = 3
"""Number of tensors that a message names."""


@dataclass(frozen=True)
class InitialWeights:
    """Weights that a training starts from.

    Attributes:
        path: The run, or the file.
        file: Its content.
        run: Configuration of the run; None for a file.
    """

    path: Path
    file: WeightsFile
    run: RunConfig | None

    @property
    def brings_landmarks(self) -> bool:
        """Whether trained weights of the landmark backbone are among them."""
        if self.run is None:
            return recognize(self.file).brings_landmarks
        return isinstance(self.run.encoder, EncoderConfig) and self.run.encoder.freeze_landmarks

    def why_not_the_head(self, labels: tuple[str, ...]) -> str:
        """Returns why a model of the classes ``labels`` cannot take over the head; empty if it can.

        The outputs of a head stand for classes in one order. In another order, it would be trained to be wrong.
        """
        if self.run is None:
            return "since the file does not name its classes"
        if self.run.labels != labels:
            return f"since the classes there are {', '.join(self.run.labels)}"
        return ""


def read_initial_weights(paths: Iterable[Path]) -> list[InitialWeights]:
    """Reads runs and files of weights.

    Raises:
        RunError: If one cannot be read.
    """
    return [
        InitialWeights(
            path,
            read_weights_file(path / BEST if path.is_dir() else path),
            read_config(path) if path.is_dir() else None,
        )
        for path in paths
    ]


def load_into(model: nn.Module, weights: InitialWeights, labels: tuple[str, ...], *, new_head: bool) -> str:
    """Loads weights into a model, which is changed in place, and returns a line that says what starts anew.

    Args:
        model: The model.
        weights: The weights; their head is taken over only if its classes are those of the model, in the same order.
        labels: Class names in the order of the model's outputs.
        new_head: Whether to leave out the head in any case.

    Raises:
        RunError: If the weights do not fit the encoder.
    """
    reason = "(--new-head)" if new_head else weights.why_not_the_head(labels)
    matching = fill(model, weights.file, head=not reason)
    parts = [f"{weights.path}: {matching.source.name}, {len(matching.tensors)} tensors loaded (--init)"]
    if matching.missing:
        some = ", ".join(matching.missing[:SHOWN]) + (", …" if len(matching.missing) > SHOWN else "")
        parts.append(f"{len(matching.missing)} of the encoder start anew: {some}")
    if matching.source.covers == ENCODER:
        parts += new_in_head(model, matching, reason)
    return "; ".join(parts)


def new_in_head(model: nn.Module, matching: Matching, reason: str) -> list[str]:
    """Returns what to say of tensors of the head that the weights did not fill, if there are any."""
    wanted = [name for name in model.state_dict() if name.startswith(HEAD)]
    new = [name for name in wanted if name not in matching.tensors]
    if len(new) == len(wanted):
        return [f"the head starts anew {reason}".rstrip()]
    return [f"{len(new)} of the head start anew: {', '.join(new[:SHOWN])}"] if new else []

"""Settings of a training run as frozen data. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from arbex.errors import InputError

RANGES = (
    ("epochs", 0, 10**6),
    ("batch_size", 2, 10**5),
    ("images_per_group", 1, 10**9),
    ("images_per_class", 1, 10**9),
    ("learning_rate", 1e-12, 10.0),
    ("decay", 1e-6, 1.0),
    ("weight_decay", 0.0, 1.0),
    ("gradient_clip", 1e-6, 1e6),
    ("label_smoothing", 0.0, 0.99),
    ("label_noise", 0.0, 1.0),
    ("max_unreadable", 0.0, 1.0),
    ("dropout", 0.0, 0.99),
    ("lambda_class", 0.0, 1e6),
    ("lambda_parts", 0.0, 1e6),
    ("lambda_tokens", 0.0, 1e6),
    ("lambda_anchor", 0.0, 1e6),
    ("lambda_center", 0.0, 1e6),
    ("distil_share", 0.0, 1.0),
    ("distil_embedding", 0.0, 1e6),
    ("distil_temperature", 0.1, 100.0),
    ("seed", 0, 2**31),
)
"""Smallest and largest value of every number."""

RENAMED = {"lambda_centre": "lambda_center"}
"""Settings under the names that runs of arbex 0.1 hold."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train.

    Section 4.3 gives epochs, optimizer, learning rate and decay, dropout and the quotas; Table 3 the smoothing.
    Batch size, clipping and the weights of the losses are not in the paper.

    Attributes:
        epochs: Passes; each sees ``images_per_class`` images of every class.
        batch_size: Images a step.
        learning_rate: Of Adam, at the start.
        schedule: ``exponential`` multiplies by ``decay`` an epoch; ``cosine`` falls to a hundredth over all
            steps after a warm-up of a twentieth.
        decay: Factor an epoch of the exponential schedule.
        weight_decay: Decoupled, on matrices and convolutions only.
        gradient_clip: Largest norm of the gradient.
        label_smoothing: Share of each target that goes to all classes (Table 3).
        label_noise: Share of training labels that are replaced by wrong ones, with their votes (Table 2).
        soft_targets: Train on the annotators' votes where the data has them.
        lambda_class: Weight of the class loss.
        lambda_parts: Weight of the same loss on each distribution before mixing. Ours, 0 is the paper's: the
            mixture starves whichever part is less confident.
        lambda_anchor: Weight of the anchor loss (Table 4).
        lambda_center: Weight of the center loss.
        lambda_tokens: Weight of the loss of a linear classifier on the tokens before the transformer, which only
            training has. Ours: it tells the backbones what to look for while the transformer still averages.
        encoder_gradient: ``all`` parts of the head train the encoder, or the ``anchors`` alone: the gradient of an
            untrained classifier keeps an untrained encoder from learning.
        dropout: Probability in the primary classifier.
        bounded_anchor_loss: ``False`` is the unbounded form as printed.
        images_per_group: Quota of a person or video an epoch (4.2.2).
        images_per_class: Quota of a class an epoch (4.2.2).
        distil_share: With a teacher: its share of the loss; the rest is the labels'.
        distil_embedding: With a teacher: weight, within its share, of the divergence of the embeddings' neighborhoods.
        distil_temperature: With a teacher: how far the distributions are flattened before they are compared.
        max_unreadable: Share of images that may be left out because they cannot be read.
        augmentation: ``False`` cuts out the center of each image instead of varying it.
        seed: Of initial weights, choice of images and augmentation.
        precision: Of Lightning Fabric, ``32-true`` or ``bf16-mixed``.
        channels_last: Keep images and kernels in the order that convolutions compute in; pays with bf16-mixed.
        compile: Compile the model with ``torch.compile``; the first steps take minutes then.
    """

    epochs: int = 1000
    batch_size: int = 64
    learning_rate: float = 3e-4
    schedule: str = "exponential"
    decay: float = 0.995
    weight_decay: float = 0.0
    gradient_clip: float = 5.0
    label_smoothing: float = 0.11
    label_noise: float = 0.0
    soft_targets: bool = True
    lambda_class: float = 1.0
    lambda_parts: float = 0.0
    lambda_tokens: float = 0.0
    lambda_anchor: float = 0.1
    lambda_center: float = 0.05
    encoder_gradient: str = "all"
    dropout: float = 0.5
    bounded_anchor_loss: bool = True
    images_per_group: int = 512
    images_per_class: int = 500
    distil_share: float = 0.9
    distil_embedding: float = 0.05
    distil_temperature: float = 3.0
    max_unreadable: float = 0.01
    augmentation: bool = True
    seed: int = 0
    precision: str = "32-true"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuses values with which nothing can be trained.

        Raises:
            InputError: If one is out of its range.
        """
        for name, low, high in RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name}={value} cannot be trained with.", allowed=f"Allowed is {low:g} to {high:g}.")

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainSettings:
        """Builds the value from what ``to_json`` returned."""
        names = {field.name for field in fields(cls)}
        current = {RENAMED.get(name, name): v for name, v in value.items()}
        return cls(**{name: v for name, v in current.items() if name in names})


FROM_SCRATCH = TrainSettings(
    epochs=60,
    batch_size=32,
    learning_rate=2e-3,
    schedule="cosine",
    weight_decay=0.01,
    lambda_parts=0.5,
    lambda_tokens=1.0,
    encoder_gradient="anchors",
    dropout=0.1,
)
"""For the small presets. The paper fine-tunes pretrained backbones; these train from random weights in few epochs."""

PRESET_SETTINGS = {
    "tiny": replace(FROM_SCRATCH, epochs=8),
    "mobile": FROM_SCRATCH,
    "base": TrainSettings(),
    # For the user's own backbone, which is usually pretrained.
    "custom": TrainSettings(epochs=60, batch_size=32, schedule="cosine", weight_decay=0.01),
}
"""Default settings by preset."""

CHOICES = {
    "schedule": ("exponential", "cosine"),
    "encoder_gradient": ("all", "anchors"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
}


def override(settings: TrainSettings, assignments: Iterable[str], *, also: Iterable[str] = ()) -> TrainSettings:
    """Applies ``name=value`` texts.

    Args:
        settings: Where they apply.
        assignments: The texts.
        also: Names that are known elsewhere, for the error.

    Raises:
        InputError: If a name is unknown or a value has the wrong type.
    """
    known = {field.name: getattr(settings, field.name) for field in fields(settings)}
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in known:
            raise InputError(
                f"The setting {text!r} is not known.",
                allowed=f"Expected is name=value with one of: {', '.join(sorted([*known, *also]))}.",
            )
        settings = replace(settings, **{name: parse(name, value.strip(), known[name])})
    return settings


def parse(name: str, text: str, default: Any) -> Any:
    """Reads ``text`` as the type that ``default`` has."""
    if name in CHOICES and text not in CHOICES[name]:
        raise InputError(f"{name}={text} is not known.", allowed=f"Allowed: {', '.join(CHOICES[name])}.")
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise InputError(f"{name}={text} is neither true nor false.")
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    try:
        return type(default)(text)
    except ValueError:
        kind = "whole number" if isinstance(default, int) else "number"
        raise InputError(f"{name}={text} is not a {kind}.", allowed=f"The default is {default}.") from None

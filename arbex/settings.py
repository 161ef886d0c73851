"""Settings of a training run as frozen data, and how ``--set`` changes them. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from arbex.checks import check_choice, check_name, check_range
from arbex.errors import InputError

Options = TypeVar("Options")

RANGES = (
    ("epochs", 0, 10**6),
    ("batch_size", 2, 10**5),
    ("images_per_group", 1, 10**9),
    ("images_per_class", 1, 10**9),
    ("learning_rate", 1e-12, 10.0),
    ("head_rate", 1e-3, 1e3),
    ("decay", 1e-6, 1.0),
    ("weight_decay", 0.0, 1.0),
    ("gradient_clip", 1e-6, 1e6),
    ("label_smoothing", 0.0, 0.99),
    ("label_noise", 0.0, 1.0),
    ("imbalance", 1.0, 1e6),
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
    ("restart_epochs", 1, 10**6),
    ("averaging", 0.0, 0.999999),
    ("erasing", 0.0, 1.0),
    ("mixup", 0.0, 100.0),
    ("cutmix", 0.0, 100.0),
    ("early_learning", 0.0, 100.0),
    ("early_learning_momentum", 0.0, 0.9999),
    ("patience", 0, 10**6),
    ("coverage", 0.01, 1.0),
    ("seed", 0, 2**31),
)
"""Name, smallest value and largest value of each number."""

CHOICES = {
    "optimizer": ("adamw", "muon"),
    "schedule": ("exponential", "cosine", "one-cycle", "restarts"),
    "sampling": ("quota", "natural", "square-root"),
    "encoder_gradient": ("all", "anchors"),
    "label_noise_kind": ("uniform", "look-alike"),
    "augmentation": ("heavy", "light", "none"),
    "precision": ("auto", "32-true", "bf16-mixed", "16-mixed"),
}
"""Allowed values of each setting that is a word."""

MOST_UNREADABLE = 0.01
"""Share of a split that may be left out because it cannot be read, unless the user allows another."""

RENAMED = {"lambda_centre": "lambda_center"}
"""Settings that runs of arbex 0.1 stored under another name."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train.

    Section 4.3 gives the number of epochs, the optimizer, its learning rate and decay, the dropout and the quotas;
    Table 3 gives the label smoothing. The paper does not give batch size, gradient clipping and weights of the losses.

    Attributes:
        epochs: Number of epochs; each shows as many images as ``sampling`` says.
        batch_size: Number of images per step, over all processes.
        optimizer: ``adamw``; or ``muon`` for the kernels and matrices of the encoder and those inside the head, and
            AdamW for the rest.
        learning_rate: Learning rate of the optimizer at its highest.
        head_rate: Factor of the learning rate of the head; anchors have one of their own, ``anchor_rate``.
        schedule: ``exponential`` multiplies the learning rate by ``decay`` after each epoch; ``cosine`` lowers it to a
            hundredth over all steps, after a warm-up of a twentieth of them; ``one-cycle`` raises it over a quarter of
            the steps and then lowers it to a thousandth; ``restarts`` lowers it to a hundredth again and again.
        decay: Factor per epoch of the exponential schedule.
        restart_epochs: Epochs until the first restart; each further period is twice as long as the one before.
        weight_decay: Decoupled weight decay of matrices and kernels; other parameters have none.
        gradient_clip: Largest norm of the gradient.
        label_smoothing: Share of each target that is spread over all classes (Table 3).
        label_noise: Share of training labels that are replaced by wrong ones, without votes (Table 2).
        label_noise_kind: Which classes they are of: any other (``uniform``), or the one that an expression is most
            often taken for (``look-alike``).
        imbalance: Ratio of the largest class to the smallest one that training keeps images of; 1 keeps all.
        soft_targets: Whether to train on the annotators' votes where the data has them.
        lambda_class: Weight of the class loss.
        lambda_parts: Weight of the class loss on each distribution before mixing. It is an addition of this project
            (0 is the paper's loss): the mixture alone starves whichever part is less confident.
        lambda_anchor: Weight of the anchor loss (Table 4).
        lambda_center: Weight of the center loss.
        lambda_tokens: Weight of the loss of a linear classifier on the tokens before the fusion transformer, which
            only training has. It is an addition of this project: it teaches the backbones while the transformer still
            averages over places.
        encoder_gradient: Which parts of the head train the encoder: ``all`` of them, or the ``anchors`` alone, since
            the gradient of an untrained classifier keeps an untrained encoder from learning.
        dropout: Dropout probability in the hidden layers of the primary classifier.
        bounded_anchor_loss: Whether the anchor loss has a lower bound; ``False`` is the unbounded form as printed.
        images_per_group: Quota of each person or video per epoch (4.2.2).
        images_per_class: Quota of each class per epoch (4.2.2), with ``sampling=quota``.
        sampling: How many images of each class an epoch shows: a ``quota`` of each; with ``natural``, every image once;
            with ``square-root``, as many in all, in proportion to the square roots of the classes' sizes.
        distil_share: With a teacher: share of its losses in the sum; the labels' losses have the rest.
        distil_embedding: With a teacher: weight, within its share, of the divergence between the neighborhoods of the
            embeddings.
        distil_temperature: With a teacher: temperature at which the distributions are compared.
        distil_mirrored: With a teacher: whether its answer is the mean of those for an image and its mirror image.
        max_unreadable: Share of images that may be left out because they cannot be read.
        augmentation: How to vary images: ``heavy`` shifts, turns, scales and mirrors them, changes their colors and
            adds noise; ``light`` shifts by whole pixels and mirrors; ``none`` leaves them as they are.
        erasing: Share of images of which a random rectangle is erased.
        mixup: Alpha of mixup, which blends pairs of images and their targets; 0 for none.
        cutmix: Alpha of CutMix, which puts a rectangle of one image into another; 0 for none.
        early_learning: Weight of a loss that keeps answers close to a moving average of earlier ones, against learning
            wrong labels by heart (arXiv 2007.00151, which has 3); 0 for none.
        early_learning_momentum: Share of the old average in the new one, each time an image is seen.
        averaging: Decay per step of a moving average of the weights, such as 0.998; the average is what is validated
            and stored. 0 stores the weights themselves.
        patience: Number of epochs without a better one on validation after which training ends; 0 for never.
        calibrate: Whether to fit temperatures to the validation images after training, which the stored model has.
        coverage: Share of the validation images whose confidence shall suffice for an answer; the others count as
            unsure. With 1, every answer counts.
        seed: Seed of the initial weights, the choice of images and the augmentation.
        precision: Precision of Lightning Fabric: ``32-true``, ``bf16-mixed`` or ``16-mixed``; ``auto`` is
            ``bf16-mixed`` where the processor or the GPU has instructions for it, and ``32-true`` elsewhere. The run
            stores which it was.
        channels_last: Whether images and kernels are kept in channels-last order, which is faster with ``bf16-mixed``.
        compile: Whether to compile the model with ``torch.compile``; the first steps then take minutes.
    """

    epochs: int = 1000
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 3e-4
    head_rate: float = 1.0
    schedule: str = "exponential"
    decay: float = 0.995
    restart_epochs: int = 10
    weight_decay: float = 0.0
    gradient_clip: float = 5.0
    label_smoothing: float = 0.11
    label_noise: float = 0.0
    label_noise_kind: str = "uniform"
    imbalance: float = 1.0
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
    sampling: str = "quota"
    distil_share: float = 0.9
    distil_embedding: float = 0.05
    distil_temperature: float = 3.0
    distil_mirrored: bool = False
    max_unreadable: float = MOST_UNREADABLE
    augmentation: str = "heavy"
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    early_learning: float = 0.0
    early_learning_momentum: float = 0.7
    averaging: float = 0.0
    patience: int = 0
    calibrate: bool = True
    coverage: float = 1.0
    seed: int = 0
    precision: str = "auto"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Checks every value.

        Raises:
            InputError: If a number is out of its range.
            UnsupportedError: If a word is not one of its choices.
        """
        for name, low, high in RANGES:
            check_range(name, getattr(self, name), low, high)
        for name, allowed in CHOICES.items():
            check_choice(name, getattr(self, name), allowed)

    def to_json(self) -> dict[str, Any]:
        """Returns a dictionary that ``from_json`` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainSettings:
        """Builds the value from what ``to_json`` returned."""
        names = {field.name for field in fields(cls)}
        current = {RENAMED.get(name, name): v for name, v in value.items()}
        if isinstance(current.get("augmentation"), bool):  # runs of arbex 0.1
            current["augmentation"] = "heavy" if current["augmentation"] else "none"
        return cls(**{name: v for name, v in current.items() if name in names})


FROM_SCRATCH = TrainSettings(
    epochs=60,
    batch_size=64,
    optimizer="muon",
    learning_rate=1e-2,
    schedule="one-cycle",
    weight_decay=0.01,
    lambda_parts=0.5,
    dropout=0.1,
    augmentation="light",
    channels_last=True,
)
"""For the small presets. The paper fine-tunes pretrained backbones; these train from random weights in few epochs."""

FROM_RANDOM_WEIGHTS = ("tiny", "small", "mobile")
"""Presets that are made to start from random weights."""

PRESET_SETTINGS = {
    **dict.fromkeys(FROM_RANDOM_WEIGHTS, FROM_SCRATCH),
    "tiny": replace(FROM_SCRATCH, epochs=10),
    "base": TrainSettings(),
    "poster-v1": TrainSettings(),
    # For the user's own backbone, which is usually pretrained.
    "custom": TrainSettings(epochs=60, batch_size=32, schedule="cosine", weight_decay=0.01),
}
"""Default settings by preset."""


def assign(target: Options, assignments: Iterable[str]) -> tuple[Options, list[str]]:
    """Applies those ``name=value`` texts that name a field of a dataclass.

    All of them apply at once, so that values that only fit together can be given in any order.

    Args:
        target: The dataclass instance to change; its values give the types.
        assignments: The texts. A hyphen in a name counts as an underscore.

    Returns:
        The changed instance, and the texts that name no field.

    Raises:
        InputError: If a value has the wrong type or is out of its range.
        UnsupportedError: If a word is not one of its choices.
    """
    known = {field.name: getattr(target, field.name) for field in fields(target)}  # type: ignore[arg-type]
    changes, others = {}, []
    for text in assignments:
        name, equals, value = split(text)
        if equals and name in known:
            changes[name] = parse(name, value, known[name])
        else:
            others.append(text)
    return replace(target, **changes), others  # type: ignore[type-var]


def split(text: str) -> tuple[str, str, str]:
    """Splits ``name=value`` into the name, the equals sign (empty if there is none) and the value."""
    name, equals, value = text.partition("=")
    return name.strip().replace("-", "_"), equals, value.strip()


def override(settings: TrainSettings, assignments: Iterable[str], *, also: Iterable[str] = ()) -> TrainSettings:
    """Applies ``name=value`` texts, all of which must name settings.

    Args:
        settings: The settings to change.
        assignments: The texts.
        also: Names that are known elsewhere, for the error.

    Raises:
        InputError: If a text has no value, or a value has the wrong type or is out of its range.
        UnsupportedError: If a name, or a word as a value, is not known.
    """
    changed, others = assign(settings, assignments)
    for text in others:
        name, equals, _ = split(text)
        if not equals:
            raise InputError(f"The setting {text!r} has no value.", allowed="Allowed: name=value.")
        check_name("setting", name, sorted([*asdict(settings), *also]))
    return changed


def parse(name: str, text: str, default: Any) -> Any:
    """Reads a value of the type that ``default`` has.

    Raises:
        InputError: If the text is not of that type.
    """
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise InputError(f"{name} is {text!r}.", allowed="Allowed: true, false.")
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    try:
        return type(default)(text)
    except ValueError:
        kind = "whole number" if isinstance(default, int) else "number"
        raise InputError(f"{name} is {text!r}.", allowed=f"Allowed: a {kind}, such as {default}.") from None

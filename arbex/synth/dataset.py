"""Planning and writing a data set of procedural faces."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arbex.checks import check_name, check_range
from arbex.errors import DataError
from arbex.files import staged_folder
from arbex.spec import EXPRESSIONS
from arbex.synth import annotators, capture
from arbex.synth.action_units import PROTOTYPES, blend, vary
from arbex.synth.drawing import SUPERSAMPLING, draw
from arbex.synth.identity import sample_identity
from arbex.synth.sheet import write_contact_sheet

SPLIT_SHARES = {"train": 0.60, "val": 0.15, "test": 0.25}
FREQUENCY = ("happiness", "neutral", "sadness", "surprise", "anger", "disgust", "fear", "other", "contempt")
"""Classes from frequent to rare, as in photographs from the wild; ``imbalance`` follows this order."""

COLUMNS = ("file", "split", "subject", "label", "true_label", "votes", "skin", "hair", "glasses", "yaw", "light")
FRONTAL_YAW = 0.15
"""Largest yaw in radians that counts as frontal."""

FRONTAL_LIGHT = 1 / 3
"""Largest direction of the light that counts as frontal; -1 comes from the left, 1 from the right."""

MIN_SIZE, MAX_SIZE = 32, 1024
HUFFMAN_ONLY = 2
"""Strategy of zlib: sensor noise has no repetitions that a search would find."""


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """Configuration of a data set; equal configurations give equal pixels.

    Attributes:
        images: Number of images, at least one per subject and class.
        subjects: Number of people; each is in one split only.
        seed: Seed of everything random.
        image_size: Side of the images in pixels, 32 to 1024.
        imbalance: Frequency of the most frequent class relative to that of the rarest, at least 1.
        label_noise: Probability that a training image has a wrong majority label, 0 to 1. Labels of validation and test
            images and all pixels are the same at every level.
        ambiguity: Probability that an image mixes two expressions, 0 to 1.
        classes: Class names in order.
    """

    images: int
    subjects: int
    seed: int = 0
    image_size: int = 128
    imbalance: float = 1.0
    label_noise: float = 0.0
    ambiguity: float = 0.1
    classes: tuple[str, ...] = EXPRESSIONS

    def __post_init__(self) -> None:
        """Checks every value.

        Raises:
            UnsupportedError: If a class cannot be drawn.
            InputError: If a number is out of its range.
        """
        for name in self.classes:
            check_name("class", name, PROTOTYPES)
        check_range("subjects", self.subjects, len(SPLIT_SHARES))
        check_range("images", self.images, self.subjects * len(self.classes))
        check_range("image_size", self.image_size, MIN_SIZE, MAX_SIZE)
        check_range("imbalance", self.imbalance, 1)
        check_range("label_noise", self.label_noise, 0, 1)
        check_range("ambiguity", self.ambiguity, 0, 1)
        check_range("seed", self.seed, 0)


@dataclass(frozen=True, kw_only=True)
class Face:
    """One planned image.

    Attributes:
        index: Position in the data set; together with the seed, it determines the pixels.
        subject: Number of the person.
        split: ``train``, ``val`` or ``test``.
        truth: Position of the true class.
    """

    index: int
    subject: int
    split: str
    truth: int


@dataclass(frozen=True)
class Drawn:
    """One finished image.

    Attributes:
        face: Its entry in the plan.
        image: uint8 RGB ``[S, S, 3]``.
        label: Position of the majority class.
        votes: Number of votes for each class ``[N]``.
        traits: Skin, hair, glasses, yaw and direction of the light in words, to group images by.
    """

    face: Face
    image: NDArray[np.uint8]
    label: int
    votes: NDArray[np.int64]
    traits: tuple[str, ...]


def split_subjects(config: SynthConfig) -> list[str]:
    """Returns the split of each subject; every split has at least one subject."""
    order = np.random.default_rng([config.seed, 1]).permutation(config.subjects)
    test = max(1, round(SPLIT_SHARES["test"] * config.subjects))
    val = max(1, round(SPLIT_SHARES["val"] * config.subjects))
    splits = ["train"] * config.subjects
    for i, subject in enumerate(order):
        if i < test + val:
            splits[subject] = "test" if i < test else "val"
    return splits


def class_counts(config: SynthConfig, images: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns how many of a subject's ``images`` each class has; the imbalance gives a long tail."""
    rank = np.array([FREQUENCY.index(name) for name in config.classes]).argsort().argsort()
    weights = config.imbalance ** (-rank / (len(config.classes) - 1))
    exact = images * weights / weights.sum()
    counts: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    left = images - int(counts.sum())
    fractions = exact - counts + 1e-9  # the rest is drawn, so that no class is rounded to 0 for every subject
    extra = rng.choice(len(counts), size=left, replace=False, p=fractions / fractions.sum())
    counts[extra] += 1
    return counts


def plan(config: SynthConfig) -> list[Face]:
    """Returns all images in the order of their indices."""
    splits = split_subjects(config)
    faces: list[Face] = []
    for subject in range(config.subjects):
        images = len(range(subject, config.images, config.subjects))
        rng = np.random.default_rng([config.seed, 2, subject])
        counts = class_counts(config, images, rng)
        for truth in rng.permutation(np.repeat(np.arange(len(counts)), counts)).tolist():
            faces.append(Face(index=len(faces), subject=subject, split=splits[subject], truth=truth))
    return faces


def sample_shares(config: SynthConfig, truth: str, rng: np.random.Generator) -> tuple[dict[str, float], float]:
    """Draws the shares of expressions and the intensity of one image."""
    intensity = float(rng.uniform(0.5, 1.0))
    if rng.random() >= config.ambiguity:
        return {truth: 1.0}, intensity
    others = [name for name in config.classes if name != truth]
    second = others[int(rng.integers(len(others)))]
    share = float(rng.uniform(0.52, 0.72))
    return {truth: share, second: 1 - share}, max(intensity, 0.7)


def draw_face(config: SynthConfig, face: Face) -> Drawn:
    """Draws one image, which depends on the configuration and the plan's entry alone."""
    identity = sample_identity(np.random.default_rng([config.seed, 3, face.subject]))
    rng = np.random.default_rng([config.seed, 4, face.index])
    shares, intensity = sample_shares(config, config.classes[face.truth], rng)
    units = vary(blend(shares, intensity), rng)
    light = float(rng.uniform(-1, 1))
    backdrop = capture.background(config.image_size * SUPERSAMPLING, rng)
    pose = capture.sample_pose(rng)
    clean = draw(identity, units, pose, light, backdrop)
    if rng.random() < 0.08:
        picture = Image.fromarray(clean)
        capture.occlude(picture, rng)
        clean = np.asarray(picture)
    votes = annotators.vote(annotators.perceived(shares, intensity, config.classes), rng)
    label = annotators.majority(votes, face.truth)
    wrong = rng.random() < config.label_noise
    if wrong and face.split == "train":
        # A separate generator, so that later draws do not depend on the noise.
        votes = annotators.mislabel(votes, np.random.default_rng([config.seed, 5, face.index]))
        label = int(votes.argmax())
    traits = (
        identity.skin_tone,
        identity.hair_color,
        "yes" if identity.glasses else "no",
        side_of(pose.yaw, FRONTAL_YAW),
        side_of(light, FRONTAL_LIGHT),
    )
    return Drawn(face, capture.expose(clean, light, rng), label, votes, traits)


def side_of(value: float, frontal: float) -> str:
    """Returns ``left``, ``front`` or ``right`` for a direction that is negative on the left."""
    return "front" if abs(value) <= frontal else "left" if value < 0 else "right"


def write_face(config: SynthConfig, root: Path, face: Face) -> tuple[str, ...]:
    """Draws one image, writes its PNG below ``root`` and returns its row of ``labels.csv``."""
    drawn = draw_face(config, face)
    label = config.classes[drawn.label]
    name = f"{face.split}/{label}/s{face.subject:04d}_{face.index:06d}.png"
    Image.fromarray(drawn.image).save(root / name, compress_level=1, compress_type=HUFFMAN_ONLY)
    votes = " ".join(str(v) for v in drawn.votes)
    return name, face.split, f"s{face.subject:04d}", label, config.classes[face.truth], votes, *drawn.traits


def write_dataset(
    config: SynthConfig,
    out: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Writes a data set in the layout ``folder``: ``OUT/{train,val,test}/<class>/*.png`` and ``labels.csv``.

    It also writes ``classes.txt`` and ``contact_sheet.png``.

    Args:
        config: Configuration of the data set.
        out: Folder that does not exist or is empty.
        workers: Number of processes; by default one per core.
        progress: Function that takes the number of finished images.

    Returns:
        Number of images per split.

    Raises:
        DataError: If a split would lack a class; nothing is left behind then.
        InputError: If ``out`` is not empty.
    """
    faces = plan(config)
    workers = workers or os.cpu_count() or 1
    with staged_folder(out) as root:
        for split in SPLIT_SHARES:
            for name in config.classes:
                (root / split / name).mkdir(parents=True)
        (root / "classes.txt").write_text("".join(f"{name}\n" for name in config.classes))
        with (root / "labels.csv").open("w", newline="") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(COLUMNS)
            for done, row in enumerate(rows(config, root, faces, workers), start=1):
                table.writerow(row)
                if progress:
                    progress(done)
        refuse_empty_classes(config, root)
        write_contact_sheet(root, config.classes, root / "contact_sheet.png")
    return {split: sum(face.split == split for face in faces) for split in SPLIT_SHARES}


def refuse_empty_classes(config: SynthConfig, root: Path) -> None:
    """Checks that every split has images of every class.

    Raises:
        DataError: If a split lacks a class.
    """
    for split in SPLIT_SHARES:
        for name in config.classes:
            if not any((root / split / name).iterdir()):
                raise DataError(
                    f"The class {name!r} has none of the {config.images} images in {split}, with an imbalance of "
                    f"{config.imbalance:g}.",
                    remedy="Draw more images, or reduce the imbalance.",
                )


def rows(config: SynthConfig, root: Path, faces: list[Face], workers: int) -> Iterator[tuple[str, ...]]:
    """Draws all faces, in order, in ``workers`` processes."""
    write = partial(write_face, config, root)
    if workers == 1:
        yield from map(write, faces)
        return
    # Spawned, not forked: forking a process that has loaded a threaded library can deadlock.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(write, faces, chunksize=32)

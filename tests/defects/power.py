"""How often golden vectors find mistakes of a given size, over all layers that can have them::

python -m tests.defects.power

The suite puts each mistake into one layer. Here it is put into every one, in several sizes, and the table of
docs/verification.md says in how many of them it was found. A mistake that changes no answer at all, such as one in a
channel that a ReLU always cuts off, is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import click
import numpy as np
import onnx

from arbex.synth import SynthConfig, write_dataset
from export.registry import choose_targets
from quantize.operators import CONVOLUTION, LINEAR
from tests.defects import litert_defects, onnx_defects
from tests.defects.model import export_for, programs_of, train_until_all_matters
from tests.defects.sealing import verified
from tests.defects.stored_tensors import Change, Layer, Stored, edited, inject

FILES: Final = ("cpu", "android", "iphone")
"""Targets whose INT8 files are changed."""

Spoil: TypeAlias = Callable[[Path], None]
"""Puts a mistake into a file, in place."""


@dataclass(frozen=True)
class Mistake:
    """A mistake in one layer.

    Attributes:
        kind: What it is, with its size.
        spoil: Puts it into a file.
    """

    kind: str
    spoil: Spoil


def in_tensor(kind: str, change: Change) -> Mistake:
    """Returns the mistake that replaces a tensor."""

    def spoil(file: Path) -> None:
        inject(file, [change])

    return Mistake(kind, spoil)


def channel_of(layer: Layer) -> int:
    """Returns the output channel of a layer with the largest weights, which is likely to be used."""
    weight = layer.weight.astype(np.float64)
    scaled = np.abs(weight.reshape(len(weight), -1)).mean(1) * (1 if layer.scales is None else layer.scales)
    return int(scaled.argmax())


def in_layer(layer: Layer) -> Iterator[Mistake]:
    """Yields the mistakes in a layer's scales and bias."""
    if layer.scales is None:
        return
    channel = channel_of(layer)
    for share in (0.005, 0.01, 0.02, 0.05, 0.1):

        def stretch(values: np.ndarray, share: float = share) -> None:
            values[channel] *= 1 + share

        yield in_tensor(f"a channel's scale off by {share:.1%}", edited(layer.scales, stretch, layer.module))
    if layer.bias is not None and layer.bias.any():
        gone = Change(layer.bias, np.zeros_like(layer.bias), layer.module, unit=layer.unit)
        yield in_tensor("a bias dropped", gone)


def in_zero_points(target: str, file: Path) -> Iterator[Mistake]:
    """Yields the mistakes in the zero points of an ONNX or TFLite file."""
    for steps in (1, 2, 4):
        kind = f"a zero point off by {steps}"
        if target == "cpu":
            for number in range(len(onnx_defects.shifted_dequantizations(onnx.load(file)))):
                yield Mistake(kind, partial(shift_in_onnx, number=number, steps=steps))
        if target == "android":
            for number in range(len(litert_defects.zero_points(litert_defects.File(file)))):
                yield Mistake(kind, partial(shift_in_litert, number=number, steps=steps))


def shift_in_onnx(path: Path, number: int, steps: int) -> None:
    """Moves the zero point with that number in an ONNX file."""
    model = onnx.load(path)
    onnx_defects.shift_zero_point(model, onnx_defects.shifted_dequantizations(model)[number], steps)
    onnx.save(model, path)


def shift_in_litert(path: Path, number: int, steps: int) -> None:
    """Moves the zero point with that number in a TFLite file, downward where there is no room above."""
    file = litert_defects.File(path)
    value = litert_defects.zero_points(file)[number]
    value[0] += steps if value[0] + steps <= 127 else -steps
    path.write_bytes(file.content)


def mistakes(target: str, stored: Stored, file: Path) -> list[Mistake]:
    """Returns all mistakes for a file."""
    layers = [*stored.layers(CONVOLUTION), *stored.layers(LINEAR)]
    return [*(mistake for layer in layers for mistake in in_layer(layer)), *in_zero_points(target, file)]


def count_found(target: str, bundle: Path, stored: Stored) -> dict[str, tuple[int, int]]:
    """Returns how many mistakes of each kind were found, and how many change an answer."""
    (file,) = (path for path in (bundle / "artifacts").iterdir() if ".int8." in path.name)
    counts: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        intact = verified(bundle, "int8", Path(folder))
    everything = mistakes(target, stored, file)
    with click.progressbar(everything, label=target) as shown:
        for mistake in shown:
            with tempfile.TemporaryDirectory() as folder:
                row = verified(bundle, "int8", Path(folder), mistake.spoil)
            if row.parity == intact.parity:
                continue
            found, tried = counts.get(mistake.kind, (0, 0))
            counts[mistake.kind] = (found + (not row.passed), tried + 1)
    return counts


def table(counts: dict[str, dict[str, tuple[int, int]]]) -> str:
    """Returns the counts as a table in Markdown, a row per kind of mistake."""
    kinds = dict.fromkeys(kind for found in counts.values() for kind in found)
    rows = [["mistake", *(f"`{target}/int8`" for target in counts)], ["---"] * (1 + len(counts))]
    for kind in kinds:
        pairs = [found.get(kind) for found in counts.values()]
        rows.append([kind, *("" if pair is None else f"{pair[0]} of {pair[1]}" for pair in pairs)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Where the model is, or will be.  [default: temporary]")
def main(folder: Path | None) -> None:
    """Prints the table; trains and exports the model first."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        faces, trained = place / "faces", place / "trained"
        if not trained.exists():
            write_dataset(SynthConfig(images=210, subjects=10, seed=3, image_size=64), faces, workers=1)
            train_until_all_matters(faces, trained)
        programs, counts = programs_of(trained), {}
        for target in FILES:
            if not (place / target).exists():
                export_for(target, trained, place)
            variant = programs.variant(choose_targets([target])[0], "int8")
            program = variant.program()
            counts[target] = count_found(target, place / target, Stored(program, variant.with_input(program)))
        click.echo(table(counts))


if __name__ == "__main__":
    main()

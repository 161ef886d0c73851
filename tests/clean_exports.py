"""Trains and exports many models, and verifies every bundle: an intact artifact must never fail::

python -m tests.clean_exports --models 200

The models differ in seed, method, preset, size of the input and number of anchors. Each is trained briefly on drawn
faces. Its artifacts are verified on the golden vectors, and on faces of people that it has not seen. What is done is
written to a file line by line, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import click

TARGETS: Final = ("android", "iphone", "executorch")
"""Targets that take turns; every model is exported for ``cpu`` as well."""

METHODS: Final = ("arbex", "poster", "nla", "tcl", "scn", "rul", "ran")
"""All methods but ``efficientface``, which needs a trained teacher and exports what ``poster`` does."""

ANCHORS: Final = (10, 1, 3)
SIDES: Final = (64, 48, 80)
MOBILE_EVERY: Final = 10
"""One model in so many has preset ``mobile``, which takes longer."""

TRAINING: Final = ("images_per_class=60", "batch_size=32", "epochs=3")
CALIBRATION: Final = 64
"""Number of calibration images."""

MODELS_PER_PROCESS: Final = 10
"""A process ends after so many, since converters do not give all of their memory back."""


@dataclass(frozen=True)
class Kind:
    """What a model is like.

    Attributes:
        number: Its number, which is its seed too.
    """

    number: int

    @property
    def method(self) -> str:
        """Its training method."""
        return METHODS[self.number % len(METHODS)]

    @property
    def preset(self) -> str:
        """Its preset."""
        return "mobile" if self.number % MOBILE_EVERY == MOBILE_EVERY - 1 else "tiny"

    @property
    def side(self) -> int:
        """Side of its input in pixels."""
        return SIDES[self.number // len(METHODS) % len(SIDES)]

    @property
    def anchors(self) -> int:
        """Its anchors per class."""
        return ANCHORS[self.number // len(METHODS) // len(SIDES) % len(ANCHORS)]

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets that it is exported for."""
        return ("cpu", TARGETS[self.number % len(TARGETS)])


def draw_faces(folder: Path) -> Path:
    """Returns a data set in a folder, which is drawn if it is missing."""
    from arbex.synth import SynthConfig, write_dataset

    faces = folder / "faces"
    if not faces.exists():
        write_dataset(SynthConfig(images=2800, subjects=28, seed=7, image_size=80), faces)
    return faces


def verify_clean_export(faces: str, number: int) -> list[dict[str, Any]]:
    """Trains, exports and verifies a model, and returns a row per artifact, or one row if the export itself failed."""
    import torch

    from arbex import api
    from arbex.errors import CheckFailed
    from arbex.methods import method_class

    torch.set_num_threads(1)
    kind = Kind(number)
    about = {"model": number, "method": kind.method, "preset": kind.preset, "side": kind.side, "anchors": kind.anchors}
    with tempfile.TemporaryDirectory() as name:
        run, out = Path(name, "run"), Path(name, "bundles")
        api.train(
            faces,
            out=run,
            preset=kind.preset,
            method=kind.method,
            seed=number,
            image_size=kind.side,
            anchors=kind.anchors if method_class(kind.method).anchored else None,
            settings=TRAINING,
        )
        try:
            api.export(run, kind.targets, out=out, samples=CALIBRATION)
        except CheckFailed as error:
            return [{**about, "artifact": "export", "outcome": "failed", "why": str(error)}]
        outcome = api.verify([out / target for target in kind.targets], data=faces)
    return [
        {
            **about,
            "artifact": f"{Path(bundle.bundle).name}/{row.artifact}",
            "outcome": row.outcome,
            "why": row.why,
            "mean_kl": row.parity and row.parity.mean_kl,
            "agreement": row.parity and row.parity.top1_agreement,
        }
        for bundle in outcome.bundles
        for row in bundle.artifacts
    ]


def rows_in(file: Path) -> Iterator[dict[str, Any]]:
    """Yields what earlier runs have written."""
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


@click.command()
@click.option("--models", default=200, show_default=True, help="Number of models.")
@click.option("--workers", default=2, show_default=True, help="Number of processes.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("clean-exports"), show_default=True)
def main(models: int, workers: int, folder: Path) -> None:
    """Verifies clean exports, prints how many artifacts had which outcome, and exits with 1 if one failed."""
    folder.mkdir(parents=True, exist_ok=True)
    faces, results = draw_faces(folder), folder / "rows.jsonl"
    done = {row["model"] for row in rows_in(results)}
    waiting = [number for number in range(models) if number not in done]
    with get_context("spawn").Pool(workers, maxtasksperchild=MODELS_PER_PROCESS) as pool:
        for rows in pool.imap_unordered(partial(verify_clean_export, str(faces)), waiting):
            with results.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            bad = [row for row in rows if row["outcome"] != "passed"]
            click.echo(f"model {rows[0]['model']}: {len(rows) - len(bad)} of {len(rows)} passed")
            for row in bad:
                click.echo(f"  {row['artifact']} {row['outcome']}: {row['why']}")
    rows = list(rows_in(results))
    counts = Counter(row["outcome"] for row in rows)
    click.echo(f"{len({row['model'] for row in rows})} models, {len(rows)} artifacts: {dict(counts)}")
    raise SystemExit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()

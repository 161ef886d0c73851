"""From variants of one model to files of every format, each made once."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from arbex.progress import Reporter
from arbex.provenance import Work
from export.formats.base import Writer
from export.programs import Programs, Variant
from export.registry import WRITERS
from runtimes.base import Prediction
from runtimes.quiet_runs import run_quietly, run_unrounded
from runtimes.vendor_output import hidden_output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass
class Lowering:
    """Makes files in a work folder and keeps them, so that targets share them.

    Attributes:
        programs: Programs of the variants.
        folder: Work folder.
        report: Receives a line per file.
        made: Files by format and variant.
        answered: Answers of files to the golden images.
    """

    programs: Programs
    folder: Path
    report: Reporter
    made: dict[tuple[str, Variant], Path] = field(default_factory=dict)
    answered: dict[Path, tuple[Prediction, bool]] = field(default_factory=dict)

    def file(self, writer: Writer, variant: Variant) -> Path:
        """Returns the file of a variant in the writer's format, which is made at the first request.

        Raises:
            MissingPackageError: If a package is not installed.
            BackendError: If the vendor's tool cannot convert the program.
        """
        key = (writer.format.name, variant)
        if key not in self.made:
            variant = self.with_source(writer, variant)
            folder = self.folder / str(len(self.made))
            folder.mkdir()
            path = folder / f"model.{variant.precision}.{writer.format.suffix}"
            started = time.monotonic()
            with self.report.doing(f"making {path.name}"), hidden_output():
                writer.write(variant, path)
            self.report.line(f"{path.name}: made in {time.monotonic() - started:.1f} s")
            self.made[key] = path
        return self.made[key]

    def answers(self, writer: Writer, path: Path, images: NDArray[np.uint8]) -> tuple[Prediction, bool]:
        """Returns what a file answers in its runtime, which is run once per file, without rounding to float16.

        Returns:
            The answers, and whether there was such rounding to leave out.

        Raises:
            MissingPackageError: If the runtime's package is not installed.
            BackendError: If the runtime fails.
        """
        if path not in self.answered:
            assert writer.format.runtime is not None
            side, threads = self.programs.traced.side, os.cpu_count()
            with hidden_output():
                opened = writer.format.runtime(path, side, threads=threads)
                rounds = opened.rounds_to_half
            run = run_unrounded if rounds else run_quietly
            with opened as runtime, self.report.bar(f"{path.name}: golden images", len(images)) as step:
                self.answered[path] = run(runtime, images, step), rounds
        return self.answered[path]

    def with_source(self, writer: Writer, variant: Variant) -> Variant:
        """Returns a variant with the file that the writer's format is made from, if there is one."""
        if not writer.made_from:
            return variant
        return replace(variant, source=self.file(WRITERS[writer.made_from], variant))

    def work(self, writer: Writer, variant: Variant) -> Work | None:
        """Returns what the file of an INT8 variant really computes in integers; None for other precisions."""
        if not variant.is_int8:
            return None
        with hidden_output():
            operators = writer.read_operators(self.file(writer, variant), self.with_source(writer, variant))
            return self.programs.work(variant.recipe, operators)

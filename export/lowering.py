"""From variants of one model to files of every format, each made once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from arbex.progress import Reporter
from arbex.provenance import Work
from export.formats.base import Writer
from export.programs import Programs, Variant
from export.registry import WRITERS
from runtimes.vendor_output import hidden_output


@dataclass
class Lowering:
    """Makes files in a work folder and remembers them, so that targets share them.

    Attributes:
        programs: Where variants come from.
        folder: Work folder.
        report: Takes a line per file.
        made: Files by format and variant.
    """

    programs: Programs
    folder: Path
    report: Reporter
    made: dict[tuple[str, Variant], Path] = field(default_factory=dict)

    def file(self, writer: Writer, variant: Variant) -> Path:
        """Returns the file of a variant in the writer's format, making it at first.

        Raises:
            MissingPackageError: If a package is not installed.
            BackendError: If the vendor's tool refuses the program.
        """
        key = (writer.format.name, variant)
        if key not in self.made:
            variant = self.with_source(writer, variant)
            folder = self.folder / str(len(self.made))
            folder.mkdir()
            path = folder / f"model.{variant.precision}.{writer.format.suffix}"
            started = time.monotonic()
            with hidden_output():
                writer.write(variant, path)
            self.report.line(f"{path.name}: made in {time.monotonic() - started:.1f} s")
            self.made[key] = path
        return self.made[key]

    def with_source(self, writer: Writer, variant: Variant) -> Variant:
        """Returns a variant with the file that the writer's format is made from, if it is made from one."""
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

"""Writing the bundles of one export: each is made and checked in a folder of its own, and only then put in place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from arbex.errors import CheckFailed
from arbex.files import staged_folder
from arbex.progress import Reporter
from arbex.provenance import Provenance
from export.bundle_writer import copy_artifact, seal_bundle, write_archive
from export.lowering import Lowering
from export.plan import PlannedBundle
from export.ranges_file import write_ranges
from export.recording import Recorder
from export.replacement import check_replaceable
from runtimes.bundle import open_bundle
from runtimes.comparison_images import ComparisonImages
from runtimes.golden import Golden
from runtimes.manifest import Artifact, Manifest, Thresholds
from runtimes.outcomes import BundleReport
from runtimes.verification import ReportCache, verify_bundle

TOO_COARSE = "Calibrate on more or better images, loosen --max-kl or --min-agreement, or export a float precision."
OTHER_KERNELS = (
    "Its runtime rounds what this network computes elsewhere than its program does. Keep in float what costs the most, "
    "with --max-kl or --min-agreement, or export a float precision."
)
"""What to do if an artifact does not answer like its own program: a looser limit would change nothing."""


@dataclass(kw_only=True)
class Bundler:
    """Writes and checks the bundles of one export.

    Attributes:
        lowering: Makes the files.
        thresholds: Limits of the artifacts by precision.
        golden: Golden vectors.
        provenance: Where all bundles came from.
        run: Folder of the run.
        confidence_threshold: Confidence below which answers count as unsure; None if every answer counts.
        extra: Images to check on, in addition to the golden vectors.
        cache: Reports of files that bundles share.
    """

    lowering: Lowering
    thresholds: Mapping[str, Thresholds]
    golden: Golden
    provenance: Provenance
    run: Path
    confidence_threshold: float | None
    extra: Sequence[ComparisonImages]
    cache: ReportCache = field(default_factory=dict)

    def write(self, bundle: PlannedBundle, report: Reporter, *, archive: bool = False) -> BundleReport:
        """Writes one bundle and checks it; only then is an older one replaced.

        Raises:
            CheckFailed: If it does not answer like PyTorch; an older bundle is kept.
        """
        out, traced = bundle.out, self.lowering.programs.traced
        recorder = Recorder(self.lowering, self.golden)
        with staged_folder(out, check=check_replaceable) as folder:
            manifest = Manifest(
                target=bundle.target.name,
                labels=traced.labels,
                preprocessing=traced.preprocessing,
                artifacts=tuple(self.artifacts(bundle, folder, recorder)),
                provenance=self.provenance_for(bundle),
                compute_capability=bundle.target.compute_capability,
                confidence_threshold=self.confidence_threshold,
            )
            if "int8" in bundle.precisions:
                write_ranges(folder, self.lowering.programs.ranges)
            seal_bundle(folder, manifest, bundle.target, recorder.golden)
            outcome = self.check(folder, out, report)
        report.line(f"{bundle.target.name}: {out}")
        (out.parent / f"{out.name}.zip").unlink(missing_ok=True)  # of an older bundle
        if archive:
            report.line(f"{bundle.target.name}: {write_archive(out)}")
        return outcome

    def artifacts(self, bundle: PlannedBundle, folder: Path, recorder: Recorder) -> Iterator[Artifact]:
        """Makes the artifacts of a bundle, runs those that can run, and yields the entry of each in the manifest."""
        for precision in bundle.precisions:
            variant = self.lowering.programs.variant(bundle.target, precision)
            for writer in bundle.writers:
                copy = copy_artifact(self.lowering.file(writer, variant), folder)
                read, recorded = writer.format.read_content, recorder.record(writer, variant)
                yield Artifact(
                    file=copy.relative_to(folder).as_posix(),
                    format=writer.format.name,
                    precision=precision,
                    thresholds=recorder.thresholds(self.thresholds[precision], variant, recorded),
                    content=read(copy) if read else {},
                    work=self.lowering.work(writer, variant),
                    recorded=recorded,
                )

    def provenance_for(self, bundle: PlannedBundle) -> Provenance:
        """Returns the provenance of one bundle."""
        run = os.path.relpath(self.run.resolve(), bundle.out.resolve())
        if "int8" not in bundle.precisions:
            return replace(self.provenance, run=run)
        recipe = self.lowering.programs.variant(bundle.target, "int8").recipe
        return replace(self.provenance, run=run, recipe=recipe)

    def check(self, folder: Path, out: Path, progress: Reporter) -> BundleReport:
        """Verifies a bundle in ``folder`` that is to become ``out``.

        Raises:
            CheckFailed: If it does not pass.
        """
        report = replace(verify_bundle(open_bundle(folder), self.extra, self.cache, report=progress), bundle=str(out))
        if not report.passed:
            bad = next(a for a in report.artifacts if not a.passed)
            raise CheckFailed(
                f"{bad.artifact} for {out.name} does not answer like PyTorch and was not kept: {bad.why.rstrip('.')}.",
                remedy=OTHER_KERNELS if "to its program" in bad.why else TOO_COARSE,
            )
        return report

"""Recording what intact artifacts answer when they are exported, which ``arbex verify`` holds them to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from arbex.errors import MissingPackageError
from export.formats.base import Writer
from export.gate import answers_of
from export.lowering import Lowering
from export.programs import Variant
from runtimes.base import Prediction
from runtimes.deviation import deviation, limits_from
from runtimes.golden import Golden
from runtimes.manifest import Recorded, Thresholds

HALF_PROGRAM_KL = 1e-4
"""Smallest limit of an INT8 variant with parameters in float16, in nats, where its runtime rounds no value to it."""

SHARE = 0.5
"""Share of what INT8 costs by which a file may differ from its program, if that is more. Kernels add floats in any
order, which moves values over the border between two integers, and some networks amplify that."""


def rounds(variant: Variant, *, exact: bool) -> bool:
    """Tells whether a variant's answers were rounded to float16, in most runtimes as the processor adds.

    Args:
        variant: The variant.
        exact: Whether its runtime left out the rounding to float16.
    """
    return not exact and (variant.half or variant.precision == "fp16")


@dataclass
class Recorder:
    """Collects the answers of one bundle's artifacts.

    Attributes:
        lowering: Has made the artifacts, and keeps what they answered, so that bundles share it.
        golden: Golden vectors; the answers are added.
    """

    lowering: Lowering
    golden: Golden

    def record(self, writer: Writer, variant: Variant) -> Recorded | None:
        """Runs an artifact on the golden images and returns the entry for the manifest; None if it cannot run here.

        Raises:
            BackendError: If its runtime fails.
        """
        runtime = writer.format.runtime
        if runtime is None:
            return None
        path = self.lowering.file(writer, variant)
        try:
            found, exact = self.lowering.answers(writer, path, self.golden.images)
        except MissingPackageError:
            return None
        program = self.program(variant)
        self.golden = replace(self.golden, recorded={**self.golden.recorded, path.name: found})
        limits = limits_from(deviation(program, found), repeats=runtime.repeats or not rounds(variant, exact=exact))
        return Recorded(runtime=runtime.name, version=writer.format.version, exact=exact, limits=limits)

    def thresholds(self, thresholds: Thresholds, variant: Variant, recorded: Recorded | None) -> Thresholds:
        """Returns the thresholds of a precision for a variant that was recorded, or not.

        Around integers, values in float32 are added in any order, and those in float16 are rounded as well: the former
        moves some values over a border between integers, the latter many.
        """
        if not variant.is_int8 or thresholds.program_kl is None:
            return thresholds
        if recorded is None or rounds(variant, exact=recorded.exact):
            return replace(thresholds, program_kl=None)
        cost = deviation(self.golden.expected, self.program(variant)).mean_kl
        smallest = HALF_PROGRAM_KL if variant.half else thresholds.program_kl
        return replace(thresholds, program_kl=max(smallest, SHARE * cost))

    def program(self, variant: Variant) -> Prediction:
        """Returns the answers of a variant's program, in PyTorch."""
        if not variant.is_int8:
            return self.golden.expected
        if variant.precision not in self.golden.programs:
            program, traced = variant.as_kernels_compute(), self.lowering.programs.traced
            answers = answers_of(program, traced, self.golden.images, half=variant.recipe.half)
            self.golden = replace(self.golden, programs={**self.golden.programs, variant.precision: answers})
        return self.golden.programs[variant.precision]

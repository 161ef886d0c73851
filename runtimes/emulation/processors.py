"""Processors that can be emulated: what they lack is what changes the answers of integer kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from arbex.checks import check_name
from arbex.errors import UnsupportedError

NATIVE: Final = "native"
"""What reports call the processor of this machine."""

ALL: Final = "all"


@dataclass(frozen=True, kw_only=True)
class Processor:
    """A processor that QEMU emulates.

    Attributes:
        name: Its name, as in ``arbex verify --cpu NAME``.
        machine: Instruction set, as ``platform.machine`` names it.
        model: Its name in QEMU.
        about: What distinguishes it, for the help.
    """

    name: str
    machine: str
    model: str
    about: str


PROCESSORS: Final = {
    known.name: known
    for known in (
        Processor(
            name="haswell",
            machine="x86_64",
            model="Haswell-noTSX",
            about="x86 with AVX2 and without VNNI: PCs of 2013 to 2020",
        ),
        Processor(
            name="cortex-a53",
            machine="aarch64",
            model="cortex-a53",
            about="ARM without integer dot products: Raspberry Pi 3, older phones",
        ),
        Processor(
            name="cortex-a76",
            machine="aarch64",
            model="cortex-a76",
            about="ARM with integer dot products: Raspberry Pi 5, phones since 2018",
        ),
    )
}
"""The processors by name."""

WITH_AVX512: Final = ("skylake-server", "cascadelake", "icelake", "sapphirerapids", "zen4", "zen5")
"""Processors that may be asked for in vain."""


def find_processors(names: Sequence[str]) -> tuple[Processor, ...]:
    """Returns processors by name; ``all`` stands for every one.

    Raises:
        UnsupportedError: If a name is not known, or QEMU cannot emulate that processor.
    """
    for name in names:
        if name in WITH_AVX512:
            raise UnsupportedError(
                f"The processor {name!r} cannot be emulated: QEMU does not emulate AVX-512.",
                allowed=f"Allowed: {', '.join((*PROCESSORS, ALL))}.",
                remedy="Run arbex verify without --cpu on a machine that has this processor.",
            )
        check_name("processor", name, (*PROCESSORS, ALL))
    return tuple(known for known in PROCESSORS.values() if ALL in names or known.name in names)

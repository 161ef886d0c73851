"""``arbex emulators``: set up the emulation of processors."""

from __future__ import annotations

import click

from arbex.cli.console import Console, debug_option
from runtimes.emulation.processors import ALL, PROCESSORS, find_processors


@click.command(
    epilog="Processors: " + "; ".join(f"{known.name}, {known.about}" for known in PROCESSORS.values()) + ".",
)
@click.argument("processors", nargs=-1)
@debug_option
def emulators(processors: tuple[str, ...]) -> None:
    """Set up the emulation of PROCESSORS, by default of all, for arbex verify --cpu.

    QEMU and, for another instruction set, Python with the runtimes' packages are downloaded from Debian and the Python
    Package Index into ARBEX_CACHE, by default ~/.cache/arbex. Nothing is installed in the system.
    """
    from runtimes.registry import default_environment

    found = find_processors(processors or (ALL,))
    default_environment().set_up(found, Console())
    click.echo(f"ready: {', '.join(known.name for known in found)}")
    click.echo("Next: arbex verify BUNDLE --cpu all")

"""``arbex doctor``: which backends work on this machine."""

from __future__ import annotations

import click

from arbex.cli.console import debug_option, json_option, print_json, print_table


@click.command()
@json_option
@debug_option
def doctor(as_json: bool) -> None:
    """Show which backends work on this machine, and how to install the others."""
    from export.registry import all_packages
    from runtimes.doctor import examine

    found = examine(all_packages())
    if as_json:
        print_json(found.to_json())
        return
    click.echo(f"Python {found.python} on {found.platform}")
    rows = [[b.name, b.state, b.version or "", b.gives, "" if b.works else b.remedy] for b in found.backends]
    print_table(("package", "state", "version", "purpose", "how to install"), rows)
    for b in found.backends:
        if b.state == "broken":
            click.echo(f"  {b.name}: {b.why}")

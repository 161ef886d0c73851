"""``arbex doctor``."""

from __future__ import annotations

import click

from arbex.cli.console import debug_option, json_option, print_json, print_table


@click.command()
@json_option
@debug_option
def doctor(as_json: bool) -> None:
    """Show which backends work on this machine, and how to get the others."""
    from runtimes.doctor import examine

    found = examine()
    if as_json:
        print_json(found)
        return
    click.echo(f"Python {found['python']} on {found['platform']}")
    rows = []
    for b in found["backends"]:
        state = "works" if b["works"] else "missing" if b["version"] is None else "broken"
        rows.append([b["name"], state, b["version"] or "", b["gives"], "" if b["works"] else b["remedy"]])
    print_table(("backend", "state", "version", "what for", "how to get it"), rows)
    for b in found["backends"]:
        if b["version"] is not None and not b["works"]:
            click.echo(f"  {b['name']}: {b['why']}")

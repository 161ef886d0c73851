"""Reports of a verification: a page in HTML, a comment in Markdown, and JUnit XML for CI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from arbex.errors import InputError
from arbex.files import write_atomically
from runtimes.outcomes import Verification
from runtimes.reports.junit import to_junit
from runtimes.reports.markdown import to_markdown
from runtimes.reports.page import to_html

FORMATS: dict[str, Callable[[Verification], str]] = {
    ".html": to_html,
    ".md": to_markdown,
    ".xml": to_junit,
}


def check_suffix(path: Path) -> None:
    """Refuses a report file of an unknown format, or in a folder that does not exist.

    Raises:
        InputError: If the suffix is none of ``.html``, ``.md``, ``.xml``, or the folder does not exist.
    """
    if path.suffix not in FORMATS:
        raise InputError(
            f"The suffix of the report {path} is {path.suffix or 'missing'}.", allowed=f"Allowed: {', '.join(FORMATS)}."
        )
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} of the report does not exist.", remedy="Create the folder first.")


def write_report(path: Path, outcome: Verification) -> None:
    """Writes the outcome of ``arbex verify`` in the format of the file's suffix.

    Raises:
        MissingPackageError: If it is a page and jinja2 is not installed.
    """
    write_atomically(path, FORMATS[path.suffix](outcome))

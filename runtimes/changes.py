"""What changed since an earlier verification, from the JSON document that it printed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from arbex.errors import InputError, reason
from runtimes.emulation.processors import NATIVE
from runtimes.outcomes import BundleReport, Change, State

Key: TypeAlias = tuple[str, str, str]
"""Name of a bundle's folder, file name of an artifact, and processor."""


def read_states(file: Path) -> dict[Key, State]:
    """Reads what ``arbex verify --json`` printed.

    Raises:
        InputError: If the file cannot be read or is something else.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return dict(state_in(name, row) for name, row in rows_of(document))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The earlier verification {file} cannot be read: {getattr(error, 'strerror', None) or reason(error)}.",
            allowed="Allowed: what arbex verify --json printed.",
            remedy="Write it with: arbex verify BUNDLE --json > FILE.",
        ) from error


def rows_of(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields each artifact with the name of its bundle's folder."""
    for bundle in document["bundles"]:
        for artifact in bundle["artifacts"]:
            yield Path(bundle["bundle"]).name, artifact


def state_in(bundle: str, artifact: Mapping[str, Any]) -> tuple[Key, State]:
    """Returns an artifact's key and state; before version 0.2, there were two outcomes and one processor."""
    outcome = artifact.get("outcome") or ("passed" if artifact["passed"] else "failed")
    state = State(outcome=outcome, mean_kl=artifact["mean_kl"], top1_agreement=artifact["top1_agreement"])
    return (bundle, artifact["artifact"], artifact.get("cpu", NATIVE)), state


def states_of(bundles: tuple[BundleReport, ...]) -> dict[Key, State]:
    """Returns the states of a verification that has just been made."""
    return {
        (Path(bundle.bundle).name, a.artifact, a.cpu): State(
            outcome=a.outcome,
            mean_kl=a.parity.mean_kl if a.parity else None,
            top1_agreement=a.parity.top1_agreement if a.parity else None,
        )
        for bundle in bundles
        for a in bundle.artifacts
    }


def changes_since(before: Mapping[Key, State], bundles: tuple[BundleReport, ...]) -> tuple[Change, ...]:
    """Returns every artifact that is there now or was then, in the order of now."""
    after = states_of(bundles)
    return tuple(
        Change(bundle=key[0], artifact=key[1], cpu=key[2], before=before.get(key), after=after.get(key))
        for key in {**after, **before}
    )

"""The pages of a bundle for the person who receives it: how to use it, and the licenses."""

from __future__ import annotations

from arbex.provenance import Provenance
from export.targets import Target
from runtimes.manifest import Manifest


def render_readme(manifest: Manifest, target: Target) -> str:
    """Returns the text of a bundle's ``README.md``."""
    side, origin = manifest.preprocessing.image_size, manifest.provenance
    rows = "\n".join(f"| `{a.file}` | {a.precision} | {a.format} |" for a in manifest.artifacts)
    # The last precision is the most compact one, which is what a device is for.
    main = [a for a in manifest.artifacts if a.format == target.formats[-1]][-1]
    identifier = main.name.rpartition(".")[0].replace(".", "_")  # as Xcode names the class
    how = target.usage.format(side=side, artifact=main.file, identifier=identifier)
    labels = ", ".join(f"{i} {name}" for i, name in enumerate(manifest.labels))
    threshold = manifest.confidence_threshold
    unsure = "" if threshold is None else f" Below {threshold:.4g}, take the answer as unsure."
    warning = "" if origin.epoch else "\n**These weights are untrained; the answers are random.**\n"
    return f"""# Facial expressions on: {target.device}
{warning}
| artifact | precision | format |
|---|---|---|
{rows}

## Use

{how}

## Input and outputs

- `image`: a cropped face, RGB, {side} x {side} pixels, 0..255. Resize with antialiased bilinear interpolation;
  normalization is inside the graph.
- `corrected` [{len(manifest.labels)}]: probabilities after reliability balancing. The largest one is the answer.
- `primary` [{len(manifest.labels)}]: probabilities before it.
- `confidence`: from 0, all classes equally likely, to 1, certain.{unsure}

Classes in order: {labels}.

## What this is

This bundle was made by arbex {origin.tools["arbex"]} from a model of preset `{origin.preset}` and method
`{origin.method}`, with the weights of epoch {origin.epoch}, whose SHA-256 is `{origin.checkpoint}`.
`manifest.json` names every file and its SHA-256. To check that no file was altered and that the answers are those of
PyTorch:

    arbex verify .
"""


def render_licenses(provenance: Provenance) -> str:
    """Returns the text of a bundle's ``LICENSES``."""
    return f"""The exported program was written by arbex (Apache-2.0).

The weights belong to whoever trained them; their license follows from the training data and from any pretrained
weights that training started with. Recorded origin of the training data: {provenance.data or "not recorded"}.
Public data sets of facial expressions (RAF-DB, AffectNet, Aff-Wild2, FER+) are mostly for research only; ask their
owners before you ship a model that was trained on them.

The images in golden.npz are drawn procedurally and free of rights.
"""

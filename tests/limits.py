"""Limits for the small sets of images of the tests, which are too few to decide about shares of them."""

from __future__ import annotations

FEW: dict[str, float | None] = dict.fromkeys(
    ("recall_change", "confidence_flips", "confidence_rank_correlation", "ece_delta")
)
"""Limits that are lifted."""

FEW_OPTIONS = [word for name in FEW for word in ("--threshold", f"{name}=none")]
"""The same on the command line."""

"""Procedural faces: a labeled data set without a download or a license."""

from arbex.synth.dataset import SynthConfig, draw_face, write_dataset

__all__ = ["SynthConfig", "draw_face", "write_dataset"]

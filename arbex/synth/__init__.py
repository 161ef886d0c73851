"""Procedural faces: a labeled data set that needs no download and no license."""

from arbex.synth.dataset import SynthConfig, draw_face, write_dataset

__all__ = ["SynthConfig", "draw_face", "write_dataset"]

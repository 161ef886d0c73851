"""Procedural faces: a labelled data set that needs no download and no licence."""

from arbex.synth.dataset import SynthConfig, draw_face, write_dataset

__all__ = ["SynthConfig", "draw_face", "write_dataset"]

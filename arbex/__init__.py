"""Facial-expression models: training core of the edge deployment toolkit."""

__version__ = "0.1.0"

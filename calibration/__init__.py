"""Calibration: the choice of images, statistics of tensors, observers, the calibration table."""

from calibration.statistics import TensorRange, TensorStatistics
from calibration.table import CalibrationTable, Origin

__all__ = ["CalibrationTable", "Origin", "TensorRange", "TensorStatistics"]

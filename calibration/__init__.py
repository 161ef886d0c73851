"""Which images calibrate, and what they showed: sample choice, statistics, observers, the calibration table."""

from calibration.statistics import TensorRange, TensorStatistics
from calibration.table import CalibrationTable, Origin

__all__ = ["CalibrationTable", "Origin", "TensorRange", "TensorStatistics"]

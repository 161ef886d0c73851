"""Which images calibrate, and what they showed: sample choice and the calibration table."""

from calibration.table import CalibrationTable, TensorRange

__all__ = ["CalibrationTable", "TensorRange"]

"""Core ML packages that coremltools makes of PyTorch modules."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.formats.coreml_writer import convertible, exact_passes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # coremltools imports ExecuTorch where it is installed, which warns
    import coremltools as ct


def convert(module: nn.Module, examples: Sequence[Tensor], path: Path, *, half: bool = False, **options: Any) -> Path:
    """Writes the package of a module whose inputs are called x0, x1, ..., and returns its folder."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = convertible(torch.export.export(module.eval(), tuple(examples)))
        types = [ct.TensorType(name=f"x{i}", shape=tuple(x.shape), dtype=np.float32) for i, x in enumerate(examples)]
        model = ct.convert(
            exported,
            inputs=options.pop("inputs", types),
            minimum_deployment_target=options.pop("target", ct.target.iOS17),
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            pass_pipeline=exact_passes(ct),
            skip_model_load=True,
            **options,
        )
        model.save(str(path))
    return path

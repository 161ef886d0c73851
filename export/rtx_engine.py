"""Building engines for RTX GPUs ahead of time with TensorRT-RTX: no GPU is needed to build."""

from __future__ import annotations

from pathlib import Path

from arbex.errors import BackendError, MissingPackageError
from arbex.spec import INPUT_NAME

COMPUTE_CAPABILITIES = ("SM80", "SM86", "SM89", "SM120")
"""Ampere, Ada and Blackwell. Turing (SM75) has no float32 matrix product there, which the head needs."""

BATCHES = (1, 1, 8)
"""Smallest, most frequent and largest batch of the engine."""


def write_engine(onnx_file: Path, side: int, path: Path) -> None:
    """Compiles an ONNX file to a serialized engine, strongly typed.

    Args:
        onnx_file: A graph from uint8 ``[B, S, S, 3]``.
        side: S.
        path: The engine to write.

    Raises:
        MissingPackageError: If TensorRT-RTX is not installed.
        BackendError: If it cannot parse or build the graph; the reasons are in the message.
    """
    try:
        import tensorrt_rtx as trt
    except ImportError as error:
        raise MissingPackageError("tensorrt_rtx", "building RTX engines", extra="rtx") from error

    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps the compiler's errors."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: object, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(onnx_file.read_bytes()):
        reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise BackendError(f"TensorRT-RTX cannot read {onnx_file.name}: {reasons}")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT_NAME, *((batch, side, side, 3) for batch in BATCHES))
    config.add_optimization_profile(profile)
    config.num_compute_capabilities = len(COMPUTE_CAPABILITIES)
    for i, name in enumerate(COMPUTE_CAPABILITIES):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), i)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError(f"TensorRT-RTX cannot build {onnx_file.name}: {'; '.join(log.errors) or 'no reason given'}")
    path.write_bytes(memoryview(engine))

"""Compiling ONNX files with TensorRT-RTX, which needs no GPU for it, and what its compiler says about them.

TensorRT on a Jetson reads the same graphs under the same rules of strong typing. It may fuse operators into other
kernels than TensorRT-RTX does, and picks the fastest by timing them on its GPU.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from arbex.errors import BackendError
from arbex.packages import Package
from arbex.spec import INPUT_NAME

PACKAGE = Package(
    module="tensorrt_rtx",
    distribution="tensorrt-rtx-cu13",
    purpose="building engines for NVIDIA GPUs, without one",
    extra="rtx",
)

CAPABILITIES: Final = {"8.0": "SM80", "8.6": "SM86", "8.9": "SM89", "12.0": "SM120"}
"""TensorRT-RTX's names of the compute capabilities for which it builds: Ampere, Ada and Blackwell. For Turing (7.5) it
lacks the float32 matrix product that the head needs."""

BATCHES: Final = (1, 1, 8)
"""Smallest, usual and largest batch of an engine."""

REMEDY: Final = "Change the operators that it names, or leave the target out."

KERNEL: Final = re.compile(r"^Name: .*?, LayerType: (\w+), Inputs: \[(.*?)\], Constants: .*?, Metadata: (.*)$", re.M)
"""A kernel of an engine in the builder's log: its type, its inputs, and the ONNX operators that it computes."""

OPERATOR: Final = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
VALUES: Final = re.compile(r"Datatype: (\w+)")

ORGANIZING: Final = ("signal", "wait", "shape_call")
"""Types of kernels that compute nothing."""

PRODUCTS: Final = ("correlation", "gemm", "runtime_fusion")
"""Types of kernels that multiply by weights, or matrices by each other."""


@dataclass(frozen=True, kw_only=True)
class EngineBuild:
    """What TensorRT-RTX made of an ONNX file.

    Attributes:
        compiler: The compiler and its version.
        compute_capability: Of the GPU that it compiled for, such as ``8.6``.
        operators: Number of operators of the file that it computes.
        kernels: Number of kernels into which it fused them.
        products: Number of kernels that compute convolutions or matrix products, by the type of the values that they
            read, such as ``Int8``.
        warnings: What it warned of.
    """

    compiler: str
    compute_capability: str
    operators: int
    kernels: int
    products: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Returns the build as one sentence, and a further one per warning."""
        by_count = sorted(self.products.items(), key=lambda item: -item[1])
        kinds = ", ".join(f"{count} in {kind.lower()}" for kind, count in by_count)
        products = f" Of {sum(self.products.values())} products, it computes {kinds}." if kinds else ""
        return (
            f"{self.compiler} compiles it for compute capability {self.compute_capability}: {self.operators} operators "
            f"in {self.kernels} kernels.{products} The figures above come from ONNX Runtime on the same graph."
        ) + "".join(f" It warns: {warning}." for warning in self.warnings)


@dataclass
class BuilderLog:
    """What the builder said.

    Attributes:
        errors: Its errors.
        warnings: Its warnings.
        details: Everything else, of which the list of kernels is a part.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)


def listening(trt: Any, log: BuilderLog) -> Any:
    """Returns a logger for TensorRT that writes into ``log``.

    Args:
        trt: The package ``tensorrt_rtx``.
        log: Receives the messages.
    """
    severity = trt.ILogger.Severity
    places = {severity.ERROR: log.errors, severity.INTERNAL_ERROR: log.errors, severity.WARNING: log.warnings}

    class Listener(trt.ILogger):  # type: ignore[misc]
        def log(self, kind: object, message: str) -> None:
            places.get(kind, log.details).append(message)

    return Listener()


def build_engine(
    onnx_file: Path, side: int, capabilities: Sequence[str] = tuple(CAPABILITIES), *, detailed: bool = False
) -> tuple[bytes, BuilderLog]:
    """Compiles an ONNX file, strongly typed.

    Args:
        onnx_file: A graph from uint8 ``[B, S, S, 3]``.
        side: S.
        capabilities: Compute capabilities of the GPUs, all from ``CAPABILITIES``.
        detailed: Whether the builder lists the kernels with the operators that they compute.

    Returns:
        The serialized engine, and what the builder said.

    Raises:
        MissingPackageError: If TensorRT-RTX is not installed.
        BackendError: If it cannot parse or build the graph; the reasons are in the message.
    """
    trt, log = PACKAGE.load(), BuilderLog()
    listener = listening(trt, log)
    builder = trt.Builder(listener)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, listener)
    if not parser.parse(onnx_file.read_bytes()):
        reasons = "; ".join(described(parser.get_error(i)) for i in range(parser.num_errors))
        raise BackendError(f"TensorRT-RTX cannot read {onnx_file.name}: {reasons.rstrip('.')}.", remedy=REMEDY)
    config = builder.create_builder_config()
    if detailed:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT_NAME, *((batch, side, side, 3) for batch in BATCHES))
    config.add_optimization_profile(profile)
    config.num_compute_capabilities = len(capabilities)
    for i, capability in enumerate(capabilities):
        config.set_compute_capability(getattr(trt.ComputeCapability, CAPABILITIES[capability]), i)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        reasons = "; ".join(log.errors) or "no reason given"
        raise BackendError(f"TensorRT-RTX cannot build {onnx_file.name}: {reasons.rstrip('.')}.", remedy=REMEDY)
    return bytes(memoryview(engine)), log


def described(error: Any) -> str:
    """Returns an error of TensorRT's parser with the operator that it concerns, if any."""
    place = f"{error.node_operator()} {error.node_name()!r}: " if error.node_operator() else ""
    return f"{place}{error.desc()}"


def try_build(onnx_file: Path, side: int, capability: str) -> EngineBuild:
    """Compiles an ONNX file for the GPU nearest to one, and returns what the compiler made of it.

    Args:
        onnx_file: A graph from uint8 ``[B, S, S, 3]``.
        side: S.
        capability: Compute capability of the GPU that the file is for.

    Raises:
        MissingPackageError: If TensorRT-RTX is not installed.
        BackendError: If it cannot parse or build the graph.
    """
    nearest = nearest_capability(capability)
    _, log = build_engine(onnx_file, side, (nearest,), detailed=True)
    kernels = [found.groups() for found in KERNEL.finditer("\n".join(log.details))]
    computing = [kernel for kernel in kernels if kernel[0] not in ORGANIZING]
    read = (VALUES.search(inputs) for kind, inputs, _ in computing if kind in PRODUCTS)
    return EngineBuild(
        compiler=f"TensorRT-RTX {PACKAGE.load().__version__}",
        compute_capability=nearest,
        operators=len({name for _, _, metadata in computing for name in OPERATOR.findall(metadata)}),
        kernels=len(computing),
        products=dict(Counter(found.group(1) for found in read if found)),
        warnings=tuple(dict.fromkeys(message.strip().rstrip(".") for message in log.warnings)),
    )


def nearest_capability(capability: str) -> str:
    """Returns the largest compute capability for which TensorRT-RTX builds that is not above another one."""
    below = [known for known in CAPABILITIES if number(known) <= number(capability)]
    return max(below, key=number) if below else min(CAPABILITIES, key=number)


def number(capability: str) -> tuple[int, ...]:
    """Returns a compute capability as something that can be ordered: 12.0 comes after 8.9."""
    return tuple(int(part) for part in capability.split("."))

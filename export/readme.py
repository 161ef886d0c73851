"""What a bundle tells the person who receives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.targets import Target
from runtimes.manifest import Manifest

HOW_TO = {
    "jetson": """On the device, compile the graph once; the engine is bound to this GPU and TensorRT version:

    trtexec --onnx={artifact} --stronglyTyped --saveEngine=model.engine \\
        --minShapes=image:1x{side}x{side}x3 --optShapes=image:1x{side}x{side}x3 --maxShapes=image:8x{side}x{side}x3

The precision is in the graph; TensorRT needs no calibration cache and no precision flag. On TensorRT 11, where
strong typing is the only mode, leave `--stronglyTyped` out.""",
    "iphone": """Drag the `.mlpackage` into Xcode. The input `image` is an RGB picture of {side} x {side} pixels
(`CVPixelBuffer`, `CGImage` through Vision); normalization is inside:

    let model = try {identifier}(configuration: MLModelConfiguration())
    let answer = try model.prediction(image: pixelBuffer)
    print(answer.corrected)""",
    "android": """With LiteRT (`com.google.ai.edge.litert`), or on a board with Python:

    from ai_edge_litert.interpreter import Interpreter
    signature = Interpreter("{artifact}").get_signature_runner()
    answer = signature(image=pixels)  # uint8 [1, {side}, {side}, 3]
    print(answer["corrected"])""",
    "rtx": """The `.engine` files were built by TensorRT-RTX without a GPU; it finishes them on the first load:

    runtime = tensorrt_rtx.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(open("{engine}", "rb").read())

They run on compute capability 8.0, 8.6, 8.9 and 12.0. The ONNX files beside them are what they were built from.""",
    "cpu": """With ONNX Runtime:

    session = onnxruntime.InferenceSession("{artifact}")
    corrected, primary, confidence = session.run(None, {{"image": pixels}})  # uint8 [B, {side}, {side}, 3]""",
}


def render_readme(manifest: Manifest, target: Target) -> str:
    """Returns the text of a bundle's ``README.md``."""
    side, origin = manifest.preprocessing.image_size, manifest.provenance
    rows = "\n".join(f"| `{a.file}` | {a.precision} | {a.format} |" for a in manifest.artifacts)
    first = manifest.artifacts[-1]  # the most compact one, which is what a device is for
    engine = next((a.file for a in manifest.artifacts if a.format.endswith("engine")), "")
    identifier = first.name.removesuffix(".mlpackage").replace(".", "_")  # as Xcode names the class
    how = HOW_TO[target.name].format(side=side, artifact=first.file, engine=engine, identifier=identifier)
    labels = ", ".join(f"{i} {name}" for i, name in enumerate(manifest.labels))
    warning = "" if origin["epoch"] else "\n**These weights are untrained; the answers mean nothing.**\n"
    return f"""# Facial expressions on: {target.device}
{warning}
| artifact | precision | format |
|---|---|---|
{rows}

## Use

{how}

## Input and outputs

- `image`: a cropped face, RGB, {side} x {side} pixels, 0..255. Resize with antialiased bilinear interpolation;
  normalization is inside the graph.
- `corrected` [{len(manifest.labels)}]: probabilities after reliability balancing. The answer is their largest.
- `primary` [{len(manifest.labels)}]: probabilities before it.
- `confidence`: 1 at certainty, 0 where all classes are equally likely.

Classes in order: {labels}.

## What this is

Made by arbex {origin["tools"]["arbex"]} from a model of preset `{origin["preset"]}`, method `{origin["method"]}`,
trained for {origin["epoch"]} epochs, checkpoint sha-256 `{origin["checkpoint"]}`. `manifest.json` names every file
and its sha-256. Check that nothing was altered and that the answers are still PyTorch's with:

    arbex verify .
"""


def render_licenses(provenance: Mapping[str, Any]) -> str:
    """Returns the text of a bundle's ``LICENSES``."""
    return f"""The exported program was written by arbex (Apache-2.0).

The weights belong to whoever trained them; their license follows from the training data and from any pretrained
weights that training started with. Recorded origin of the training data: {provenance.get("data") or "not recorded"}.
Public data sets of facial expressions (RAF-DB, AffectNet, Aff-Wild2, FER+) are mostly for research only; ask their
owners before you ship a model that was trained on them.

The images in golden.npz are drawn procedurally and free of rights.
"""

"""An outcome with every kind of row, for the tests of reports."""

from __future__ import annotations

import numpy as np

from arbex.provenance import PredictedPoint, Provenance, Tradeoff, Trial
from runtimes.base import Prediction
from runtimes.comparison import Comparison
from runtimes.outcomes import ArtifactReport, BundleReport, Verification

FREE = Trial(restored=0, int8_share=0.9, predicted_kl=1e-3, mean_kl=2e-3, agreement=0.98)
HELD = Trial(restored=1, int8_share=0.5, predicted_kl=1e-4, mean_kl=1e-4, agreement=1.0)
CURVE = tuple(PredictedPoint(int8_share=share, kl=kl) for share, kl in ((0.9, 1e-3), (0.5, 1e-4), (0.0, 0.0)))
TRADEOFF = Tradeoff(restored=("conv",), trials=(FREE, HELD), predicted=CURVE, operators=())
PROVENANCE = Provenance(
    checkpoint="0" * 64,
    preset="tiny",
    method="arbex",
    epoch=1,
    data="faces",
    preprocessing="1" * 64,
    tools={"arbex": "0.2.0"},
    run="../run",
    sensitivity=TRADEOFF,
)
CLASSES = ("anger", "<b>joy</b>", "surprise")


def answers(logits: np.ndarray) -> Prediction:
    """Returns the softmax of logits ``[n, N]`` as both distributions."""
    powers = np.exp(logits)
    p = (powers / powers.sum(-1, keepdims=True)).astype(np.float32)
    return Prediction(p, p, p.max(-1))


def comparison(spread: float, n: int = 300) -> Comparison:
    """Returns a comparison of labeled images in two groups."""
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(n, 3))
    images = random.integers(0, 256, (n, 48, 48, 3), dtype=np.uint8)
    found = Comparison(CLASSES)
    moved = logits + spread * random.normal(size=(n, 3))
    groups = np.where(random.random(n) < 0.3, "glasses=yes", "glasses=no")
    names = [f"test/anger/{i}.png" for i in range(n)]
    found.add(answers(logits), answers(moved), logits.argmax(-1), groups, images, names)
    return found


def row(artifact: str, outcome: str, why: str = "", *, cpu: str = "native", spread: float = 0.1) -> ArtifactReport:
    """Returns the report of an artifact that ran unless its outcome says otherwise."""
    ran = outcome != "not executed"
    found = comparison(spread)
    return ArtifactReport(
        artifact=artifact,
        format="onnx",
        precision="int8",
        runtime="onnxruntime" if ran else "tensorrt",
        cpu=cpu,
        executed=ran,
        outcome=outcome,
        why=why,
        parity=found.parity() if ran else None,
        evidence=found.evidence() if ran else None,
        program_kl=3e-7 if ran else None,
    )


def every_outcome() -> Verification:
    """Returns an outcome with every kind of row."""
    rows = (
        row("model.fp32.onnx", "passed", spread=1e-4),
        row("model.int8.onnx", "undecided", "agreement 98.1% does not decide about 98%: needs about 900 images"),
        row("model.int8.onnx", "failed", "mean KL 6.1e-03 exceeds 5e-03 | <script>alert(1)</script>", cpu="cortex-a53"),
        row("model.engine", "not executed", "Only RTX GPUs run it."),
    )
    good = BundleReport(bundle="bundles/cpu", artifacts=rows, provenance=PROVENANCE)
    return Verification((good, BundleReport(bundle="bundles/android", why="A file is missing.")))

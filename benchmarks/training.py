"""Speed of preset ``base`` in PyTorch compared with a plain implementation of POSTER++, in the same run.

    python -m benchmarks.training                # training steps, forward passes and parts
    python -m benchmarks.training --compile      # also with torch.compile, which takes minutes

Times are medians of interleaved rounds. On a GPU, the throughput of ``base`` and ``mobile`` is printed as well.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arbex.models import PRESETS, Encoder, ExpressionClassifier, LinearHead, make_encoder
from arbex.spec import EXPRESSIONS, Preprocessing
from benchmarks.plain_poster import PlainPoster

Work = Callable[[], object]


def medians(works: Mapping[str, Work], rounds: int, device: torch.device) -> dict[str, float]:
    """Returns the median duration of each work in milliseconds. Each runs once per round; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[1:]) * 1e3 for name, values in times.items()}


def build(preset: str, device: torch.device, *, channels_last: bool = False, compiled: bool = False) -> nn.Module:
    """Returns a model of method ``poster``, which computes what the plain network does."""
    config = PRESETS[preset]
    head = LinearHead(config.out_features, len(EXPRESSIONS))
    model = ExpressionClassifier(make_encoder(config), head, EXPRESSIONS, Preprocessing(config.image_size)).to(device)
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        model.compile()
    return model


def forward(model: nn.Module, images: Tensor, bf16: bool) -> Tensor:
    """Returns the logits of a forward pass."""
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=bf16):
        answer = model(images)
    logits: Tensor = answer if isinstance(answer, Tensor) else answer.logits
    return logits.float()


def step(model: nn.Module, images: Tensor, bf16: bool = False) -> None:
    """Runs a forward and a backward pass."""
    model.zero_grad(set_to_none=True)
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    F.cross_entropy(forward(model, images, bf16), labels).backward()  # type: ignore[no-untyped-call]


def variants(device: torch.device, compiled: bool) -> dict[str, tuple[nn.Module, bool, bool]]:
    """Returns models by name, each with whether it computes in bfloat16 and in channels-last order."""
    found: dict[str, tuple[nn.Module, bool, bool]] = {
        "plain POSTER++": (PlainPoster().to(device), False, False),
        "base": (build("base", device), False, False),
        "base, channels-last": (build("base", device, channels_last=True), False, True),
        "plain POSTER++, bf16": (PlainPoster().to(device), True, False),
        "base, bf16": (build("base", device), True, False),
        "base, bf16, channels-last": (build("base", device, channels_last=True), True, True),
    }
    if compiled:
        found["base, compiled"] = build("base", device, compiled=True), False, False
        found["base, bf16, channels-last, compiled"] = (
            build("base", device, channels_last=True, compiled=True),
            True,
            True,
        )
    return found


def compare(title: str, models: dict[str, tuple[nn.Module, bool, bool]], images: Tensor, *, train: bool) -> None:
    """Prints milliseconds per image, and the ratio to the plain network."""
    rounds = 5 if train else 10
    works: dict[str, Work] = {}
    for name, (model, bf16, last) in models.items():
        model.train(train)
        given = images.contiguous(memory_format=torch.channels_last) if last else images
        if train:
            works[name] = lambda m=model, x=given, b=bf16: step(m, x, b)  # type: ignore[misc]
        else:
            works[name] = lambda m=model, x=given, b=bf16: forward(m, x, b)  # type: ignore[misc]
    with torch.set_grad_enabled(train):
        times = medians(works, rounds, images.device)
    plain = times["plain POSTER++"]
    print(f"\n{title}, batch {len(images)}\n\n| | ms per image | of plain |\n|---|---|---|")
    for name, duration in times.items():
        print(f"| {name} | {duration / len(images):.1f} | {duration / plain:.2f} |")


def parts(device: torch.device, images: Tensor) -> None:
    """Prints the forward time of each part of ``base`` next to that of the same part of the plain network."""
    plain, model = PlainPoster().to(device).eval(), build("base", device).eval()
    encoder: Encoder = model.encoder  # type: ignore[assignment]
    small = images[:, :, ::2, ::2]
    with torch.no_grad():
        maps, landmarks = encoder.image(small), encoder.landmarks(small)
        last = encoder.landmark_last(landmarks[2])
        tokens = encoder.tokens(images)
        joined = torch.cat(tokens, dim=1)
        pairs: dict[str, tuple[Work, Work]] = {
            "image backbone": (lambda: plain.ir_back(images), lambda: encoder.image(small)),
            "landmark backbone": (
                lambda: plain.face_landback(F.interpolate(images, size=112)),
                lambda: encoder.landmarks(small),
            ),
            "fusion and gate": (lambda: plain.VIT.encode(joined), lambda: encoder.fuse(tokens)),
        }
        for i in range(3):
            ours: Work = lambda i=i: encoder.embed[i](  # type: ignore[misc]  # noqa: E731
                encoder.levels[i](last if i == 2 else landmarks[i], encoder.reduce[i](maps[i]))
            )
            theirs: Work = lambda i=i: plain.level(i + 1, last if i == 2 else landmarks[i], maps[i])  # type: ignore[misc]  # noqa: E731
            pairs[f"level {i + 1}"] = theirs, ours
        print(f"\nForward by part, batch {len(images)}\n\n| | plain ms | base ms | of plain |\n|---|---|---|---|")
        for name, (theirs, ours) in pairs.items():
            times = medians({"plain": theirs, "base": ours}, 10, device)
            print(f"| {name} | {times['plain']:.1f} | {times['base']:.1f} | {times['base'] / times['plain']:.2f} |")


def throughput(device: torch.device, batch: int) -> None:
    """Prints the images per second of two presets on a GPU, in training and inference."""
    print("\nThroughput, images/s\n\n| | precision | train | infer |\n|---|---|---|---|")
    for preset in ("base", "mobile"):
        side = PRESETS[preset].image_size
        images = torch.randn(batch, 3, side, side, device=device)
        for bf16, compiled in ((False, False), (True, False), (True, True)):
            model = build(preset, device, channels_last=True, compiled=compiled)
            given = images.contiguous(memory_format=torch.channels_last)
            trained = medians({"": lambda m=model, b=bf16, x=given: step(m.train(), x, b)}, 10, device)[""]  # type: ignore[misc]
            with torch.no_grad():
                inferred = medians({"": lambda m=model, b=bf16, x=given: forward(m.eval(), x, b)}, 10, device)[""]  # type: ignore[misc]
            name = ("bf16" if bf16 else "fp32") + (", compiled" if compiled else "")
            print(f"| {preset} | {name} | {batch / trained * 1e3:.0f} | {batch / inferred * 1e3:.0f} |")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.randn(arguments.batch, 3, 224, 224, device=device)
    models = variants(device, arguments.compile)
    compare("Forward and backward", models, images, train=True)
    compare("Forward", models, images, train=False)
    compare("Forward", models, images[:1], train=False)
    parts(device, images[:1])
    if device.type == "cuda":
        throughput(device, 64)


if __name__ == "__main__":
    main()

"""A plot of the trade-off of an accuracy gate: divergence against the share of work in int8."""

from __future__ import annotations

import math

from arbex.provenance import Tradeoff

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 300, 60, 40
LOWEST = 1e-7
"""Lower end of the KL axis; smaller divergences are drawn there."""

TITLE = "Divergence against the share of work in int8"


def plot(tradeoff: Tradeoff) -> str:
    """Returns an SVG: the prediction as a line, what was measured as dots."""
    predicted = [(p.int8_share, p.kl) for p in tradeoff.predicted if p.kl > LOWEST]
    measured = [(t.int8_share, t.mean_kl) for t in tradeoff.trials]
    decades = [math.log10(max(kl, LOWEST)) for _, kl in predicted + measured]
    low, high = math.floor(min(decades)), max(math.ceil(max(decades)), math.floor(min(decades)) + 1)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        share, kl = point
        x = LEFT + share * (WIDTH - LEFT - 20)
        y = 10 + (high - math.log10(max(kl, LOWEST))) / (high - low) * (HEIGHT - BOTTOM - 10)
        return round(x, 1), round(y, 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{TITLE}">']
    for exponent in range(low, high + 1):
        _, y = place((0.0, 10.0**exponent))
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">1e{exponent}</text>')
    for percent in range(0, 101, 20):
        x, _ = place((percent / 100, 1.0))
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{percent} %</text>')
    middle = (LEFT + WIDTH - 20) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">multiply-adds in int8</text>')
    parts.append(f'<text x="12" y="{HEIGHT / 2}" transform="rotate(-90 12 {HEIGHT / 2})">mean KL</text>')
    parts.append(f'<text x="{LEFT + 10}" y="26">line: predicted; dots: measured</text>')
    line = " ".join(f"{x},{y}" for x, y in map(place, predicted))
    parts.append(f'<polyline points="{line}" class="line"/>')
    for point, trial in zip(measured, tradeoff.trials, strict=True):
        x, y = place(point)
        title = f"{trial.restored} restored, KL {trial.mean_kl:.1e}, agreement {trial.agreement:.2%}"
        parts.append(f'<circle cx="{x}" cy="{y}" r="5" class="dot"><title>{title}</title></circle>')
    return "".join([*parts, "</svg>"])

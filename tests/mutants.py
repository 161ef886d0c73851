"""Mutation testing of what decides whether an artifact is good: parity, observers, histograms, the manifest.

Each mutant changes one line in a copy of the packages, and the tests must notice. ``make mutants`` prints those that
survive, and fails if there are any::

    python -m tests.mutants            # all
    python -m tests.mutants parity     # of one group
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 120
"""Seconds after which a mutant's tests are stopped."""

PACKAGES = ("arbex", "export", "quantize", "runtimes", "calibration", "tests")


@dataclass(frozen=True)
class Mutant:
    """A change of one line.

    Attributes:
        file: File that is changed, relative to the repository.
        old: Text that is replaced; it occurs once in the file.
        new: Text in its place.
    """

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Group:
    """Mutants that the same tests must notice.

    Attributes:
        tests: Files of tests, relative to the repository.
        mutants: The mutants.
    """

    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]


def mutants_of(file: str, *changes: tuple[str, str]) -> tuple[Mutant, ...]:
    """Returns the mutants of one file."""
    return tuple(Mutant(file, old, new) for old, new in changes)


GROUPS = {
    "metrics": Group(
        tests=("tests/arbex/evaluation/test_metrics.py",),
        mutants=mutants_of(
            "arbex/evaluation/metrics.py",
            ("np.abs(np.bincount(bins, gaps * weights, ECE_BINS))", "np.bincount(bins, gaps * weights, ECE_BINS)"),
            ("gaps * weights, ECE_BINS)).sum() / weights.sum()", "gaps * weights, ECE_BINS)).sum() / len(weights)"),
            (".astype(int), 0, ECE_BINS - 1)", ".astype(int), 0, ECE_BINS - 2)"),
            ("- weights[order] / 2", "+ weights[order]"),
            ("below + wrong / 2", "below + wrong"),
            ("wrong.sum() - np.cumsum(wrong)", "np.cumsum(wrong)"),
            ("risk @ kept / kept.sum()", "risk.mean()"),
            ("wanted - (np.cumsum(kept) - kept)", "wanted - np.cumsum(kept)"),
            ("2 * found / (there + said)", "found / (there + said)"),
            ("(safe - truth) ** 2", "np.abs(safe - truth)"),
        ),
    ),
    "parity": Group(
        tests=("tests/runtimes/test_parity.py",),
        mutants=mutants_of(
            "runtimes/parity.py",
            ("np.log(a) - np.log(b)", "np.log(b) - np.log(a)"),
            ("(a * (np.log(a)", "(b * (np.log(a)"),
            (".sum(-1), 0.0)", ".mean(-1), 0.0)"),
            ("np.maximum(x.astype(np.float64), PROBABILITY_FLOOR)", "x.astype(np.float64)"),
            ("ends - counts + 1 + ends", "ends - counts + ends + ends"),
            ("if rb.std() == 0:", "if False:"),
            ("return float(np.corrcoef(ra, rb)[0, 1])", "return float(np.corrcoef(a, b)[0, 1])"),
            ("(before >= threshold) != (after >= threshold)", "(before >= threshold) & (after < threshold)"),
            ("np.quantile(before, 1 - SHARE_ABOVE)", "np.quantile(before, SHARE_ABOVE)"),
        )
        + mutants_of(
            "runtimes/comparison.py",
            ("self.lost += int((before & ~after).sum())", "self.lost += int((after & ~before).sum())"),
            ("(self.gained - self.lost) / self.samples", "(self.lost - self.gained) / self.samples"),
            ("np.argpartition(self.lots, most)[:most]", "np.arange(most)"),
            ("other.corrected.argmax(-1)], -1)", "other.primary.argmax(-1)], -1)"),
            ("zip(reference, other, strict=True)]", "zip(reference[:1] * 3, other[:1] * 3, strict=True)]"),
            ("self.errors = np.maximum(self.errors, apart)", "self.errors = np.array(apart)"),
            ("self.max_kl = max(self.max_kl, float(kl.max()))", "self.max_kl = float(kl.max())"),
            ("self.total.same / n", "self.total.same / len(rows.kl)"),
            ("primary_max_abs_error=float(self.errors[1])", "primary_max_abs_error=float(self.errors[0])"),
            ("np.quantile(rows.kl, 0.99)", "np.quantile(rows.kl, 0.9)"),
            ("self.kl_sum / n", "float(rows.kl.mean())"),
            ("return after - before", "return before - after"),
        ),
    ),
    "decision": Group(
        tests=("tests/runtimes/test_intervals.py", "tests/runtimes/test_decision.py"),
        mutants=mutants_of(
            "runtimes/intervals.py",
            ("Z95: Final = 1.959963984540054", "Z95: Final = 1.6448536269514722"),
            ("share + z2 / (2 * n)", "share - z2 / (2 * n)"),
            ("z2 / (4 * n * n)", "z2 / (4 * n)"),
            ("(0.0, end) if successes == 0", "(0.0, end) if successes == n"),
            ("lost + 0.5, gained + 0.5, n + 2", "lost, gained, n"),
            ("change = (gained - lost) / n", "change = (lost - gained) / n"),
            ("1 + correlation**2 / 2", "1 - correlation**2 / 2"),
            (
                "mean - float(high) * error), mean - float(low) * error",
                "mean + float(low) * error), mean + float(high) * error",
            ),
            ("if error == 0:", "if error < 0:"),
            ("np.quantile(ratios, ENDS)", "np.quantile(ratios, (0.25, 0.75))"),
            ("for counts in resamples(n)], ENDS)", "for counts in resamples(n)], (0.25, 0.75))"),
        )
        + mutants_of(
            "runtimes/decision.py",
            ("value <= self.limit if self.at_most", "value < self.limit if self.at_most"),
            ("else value >= self.limit", "else value <= self.limit"),
            ("if low == high:", "if low or high:"),
            ("if not (low or high):", "if not (low and high):"),
            ("elif low != high:", "elif low < high:"),
            ("if not figure.side(figure.value)", "if figure.side(figure.value)"),
            ("limit is None or parity.max_abs_error <= limit", "limit is None or parity.max_abs_error < limit"),
            ("key=lambda figure: figure.interval[0])[:1]", "key=lambda figure: -figure.interval[0])[:1]"),
            ("parity.recall_change or ()", "()"),
            ("for name, group in parity.groups.items()]\n    recall_by", "for name, group in ()]\n    recall_by"),
        ),
    ),
    "observers": Group(
        tests=("tests/calibration/test_observers.py",),
        mutants=mutants_of(
            "calibration/observers.py",
            ("STEPS = 255", "STEPS = 127"),
            ("PERCENTILE = 99.99", "PERCENTILE = 99.9"),
            ("np.linspace(0.2, 1.0, 65)", "np.linspace(0.2, 1.0, 5)"),
            ("return TensorRange(seen.low, seen.high)", "return TensorRange(min(seen.low, 0.0), seen.high)"),
            ("seen.low_sum * GRID / seen.images", "seen.low"),
            ("seen.high_sum * GRID / seen.images", "seen.high_sum * GRID"),
            ("max(seen.low, low), min(seen.high, high)", "low, min(seen.high, high)"),
            ("max(seen.low, low), min(seen.high, high)", "max(seen.low, low), high"),
            ("(1 - PERCENTILE / 100) / 2", "1 - PERCENTILE / 100"),
            ('tail, side="right")', '0.0, side="right")'),
            ('1 - tail, side="left") + 1', '1 - tail, side="left")'),
            ("np.round(-lows[:, None] / step)", "np.round(lows[:, None] / step)"),
            ("+ zero, 0, STEPS)", "+ zero, 1, STEPS)"),
            (" * histogram.counts).sum(1)", ").sum(1)"),
            ("- values) ** 2", "- values)"),
            ("np.full_like(tops, bottom), tops).argmin()", "np.full_like(tops, bottom), tops).argmax()"),
            ("bottoms = low * MSE_SHARES", "bottoms = low + 0 * MSE_SHARES"),
            ("tops = high * MSE_SHARES", "tops = high + 0 * MSE_SHARES"),
            ("-numbers - 1, numbers)", "-numbers, numbers)"),
            ("out[0] = out[1] if len(out) > 1", "out[0] = 0 if len(out) > 1"),
            ("p[-1] += counts[kept:].sum()", "pass"),
            ("reduceat(inside, starts) / members, sizes", "reduceat(inside, starts) / sizes, sizes"),
            ("q = np.where((p > 0) & (q == 0), q[q > 0].min(), q)", "p = np.where(q == 0, 0, p)"),
            ("np.log(p[at] / q[at])", "np.log(q[at] / p[at])"),
            ("2 * ENTROPY_LEVELS if", "ENTROPY_LEVELS if"),
            ("seen.low >= 0 or seen.high <= 0 else", "seen.low >= 0 else"),
            ("threshold = float(best) * histogram.width", "threshold = float(best) * histogram.width / 2"),
            ("best = min(candidates", "best = max(candidates"),
        )
        + mutants_of(
            "calibration/statistics.py",
            ("min(self.low, other.low)", "self.low"),
            ("max(self.high, other.high)", "other.high"),
            ("self.low_sum + other.low_sum", "self.low_sum"),
            ("self.high_sum + other.high_sum", "other.high_sum"),
            ("self.images + other.images", "self.images"),
        ),
    ),
    "histogram": Group(
        tests=("tests/calibration/test_histogram.py",),
        mutants=mutants_of(
            "calibration/histogram.py",
            ("math.floor(", "round("),
            ("- bin_of(low, exponent) >= BINS", "- bin_of(low, exponent) > BINS"),
            ("max(SMALLEST_EXPONENT, math", "max(SMALLEST_EXPONENT + 1, math"),
            (">> (exponent - self.exponent)", ">> (exponent - self.exponent + 1)"),
            ("max(self.exponent, other.exponent)", "self.exponent"),
            ("- min(a.first, b.first) > BINS", "- min(a.first, b.first) > BINS + 1"),
            ("- min(a.first, b.first) > BINS", "- min(a.first, b.first) >= BINS"),
            ("+= part.counts", "= part.counts"),
            ("np.add.at(counts, numbers - first, self.counts)", "counts[numbers - first] = self.counts"),
            ("self.edges[:-1] + self.width / 2", "self.edges[:-1]"),
            ("place and np.array_equal(self.counts, other.counts)", "place"),
        ),
    ),
    "manifest": Group(
        tests=("tests/runtimes/test_manifest.py", "tests/runtimes/test_verification_limits.py"),
        mutants=mutants_of(
            "runtimes/manifest.py",
            ("SCHEMA = 2", "SCHEMA = 3"),
            ("return replace(self, **limits)", "return self"),
            ('.rpartition("/")[2]', '.partition("/")[2] + " "'),
            ('"corrected": ["batch", classes]', '"corrected": ["batch", side]'),
            ('"layout": "NHWC"', '"layout": "NCHW"'),
            ('value.get("schema") != SCHEMA', 'value.get("schema") is None'),
            ("if not isinstance(value, dict):", "if isinstance(value, list):"),
            ("except BaseValidationError as error:", "except KeyError as error:"),
            ("(int, float) if kind is float", "(float,) if kind is float"),
            ("(int, float) if kind is float", "(int, float) if kind is int"),
            ("(isinstance(value, bool) and kind is not bool)", "False"),
            ("if not isinstance(value, allowed)", "if value is None"),
            ("return kind(value)", "return value"),
            ("exact(value, list)", "list(value)"),
            ("for kind in (str, int, float, bool):", "for kind in (str, int, bool):"),
            ("for kind in (str, int, float, bool):", "for kind in (int, float, bool):"),
            ('"schema": SCHEMA, "input": image', '"input": image'),
            ("get_args(kind)[-1] is Ellipsis", "get_args(kind)[0] is Ellipsis"),
        )
        + mutants_of(
            "arbex/provenance.py",
            ('self.activation.endswith("affine")', 'self.activation.endswith("symmetric")'),
            ("self.int8_macs / self.macs", "self.macs / self.int8_macs"),
        ),
    ),
}
"""Mutants by what they break."""


def survives(mutant: Mutant | None, tests: tuple[str, ...]) -> bool:
    """Tells whether the tests pass although the mutant's line is wrong; without a mutant, whether they pass at all.

    Raises:
        ValueError: If the tests did not run.
    """
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for package in PACKAGES:
            shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if mutant:
            file = copy / mutant.file
            file.write_text(file.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired:  # a loop without end is noticed, too
            return False
    if done.returncode not in (0, 1, 2):  # passed, failed, could not be collected
        raise ValueError(f"pytest ended with {done.returncode} for {mutant}: {done.stdout}{done.stderr}")
    return done.returncode == 0


def misplaced(mutant: Mutant) -> bool:
    """Tells whether the text that a mutant replaces is not exactly once in its file."""
    return (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old) != 1


def main() -> None:
    """Runs the mutants of the groups that were asked for, and prints those that survive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], metavar="GROUP", help="by default all")
    chosen = parser.parse_args().groups or list(GROUPS)
    lost = [mutant for name in chosen for mutant in GROUPS[name].mutants if misplaced(mutant)]
    if lost:
        sys.exit("Not exactly once in its file:\n" + "\n".join(f"{mutant.file}: {mutant.old}" for mutant in lost))
    for name in chosen:
        if not survives(None, GROUPS[name].tests):
            sys.exit(f"The tests of {name} fail without a mutant; {', '.join(GROUPS[name].tests)} must pass first.")
    trials = [(mutant, GROUPS[name].tests) for name in chosen for mutant in GROUPS[name].mutants]
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = pool.map(lambda trial: survives(*trial), trials)
        for (mutant, _), lives in zip(trials, outcomes, strict=True):
            survivors += lives
            word = "SURVIVED" if lives else "noticed"
            print(f"{word:8}  {mutant.file}: {mutant.old} -> {mutant.new}", flush=True)
    print(f"{len(trials) - survivors} of {len(trials)} mutants were noticed")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()

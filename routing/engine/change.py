"""Whether a path's outcomes stopped coming from where they came from, and since when.

A generalised likelihood ratio over every split of the outcomes since the regime began, old rate and new
rate both unknown. For 0/1 outcomes the likelihoods are the binomial ones. For scores the same formula
runs on the two-point distribution that has the scores' mean and variance, which by Bennett and Hoeffding
(1963, theorem 3) is the worst case among bounded outcomes of that variance: the spread that is really
there sharpens the test, and rare far values cannot set it off more often than 0/1 outcomes would."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from routing.engine.histogram import Histogram

# Nats. A short streak has more chances to occur than a long one, so it has to be the more unlikely:
# the threshold is BASE + ln(1 + STREAK / outcomes after the change).
BASE = 9.1
STREAK = 200.0

# Neighbouring candidates for the change point lie at most this share of the later outcomes apart:
# about 8 ln(n) + 8 candidates, 80 after 10,000 outcomes.
RESOLUTION = 1 / 8

# A spread below this is taken for this: scores that were all alike say little about how far the next may be.
SMALLEST_SPREAD = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    """Successive outcomes that stand or fall together as candidates for a change point."""

    since: float
    weight: float
    total: float
    squares: float

    def __add__(self, later: Run) -> Run:
        return Run(
            self.since,
            self.weight + later.weight,
            self.total + later.total,
            self.squares + later.squares,
        )


@dataclass(frozen=True, slots=True)
class Alarm:
    """A change: the regime to open, and the figures to record with it."""

    since: float
    before: float
    after: float
    outcomes_before: float
    outcomes_after: float


@dataclass(frozen=True, slots=True)
class Detector:
    """What one source's first reports about one path have been, oldest first, in bounded memory."""

    runs: tuple[Run, ...] = ()
    weight: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    seen: int = 0


def observe(detector: Detector, value: float, at: float, weight: float = 1.0) -> Detector:
    """The detector after one more outcome. Every sixteenth thins the candidates out."""
    run = Run(at, weight, weight * value, weight * value * value)
    runs = (*detector.runs, run)
    return Detector(
        runs if detector.seen % 16 else _thinned(runs),
        detector.weight + run.weight,
        detector.total + run.total,
        detector.squares + run.squares,
        detector.seen + 1,
    )


def _thinned(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """Neighbours joined where they weigh little against everything that came after them."""
    kept: list[Run] = []
    later = 0.0
    for run in reversed(runs):
        if kept and kept[-1].weight + run.weight <= RESOLUTION * (later - kept[-1].weight):
            kept[-1] = run + kept[-1]
        else:
            kept.append(run)
        later += run.weight
    return tuple(reversed(kept))


def threshold(outcomes_after: float) -> float:
    return BASE + math.log1p(STREAK / outcomes_after)


def alarm(detector: Detector) -> Alarm | None:
    """The change point whose likelihood ratio is furthest above the threshold, if one is."""
    n = detector.weight
    if n <= 0:
        return None
    mean = detector.total / n
    variance = max(detector.squares / n - mean * mean, SMALLEST_SPREAD**2)
    best, split = 0.0, -1
    later = later_total = 0.0
    for index in range(len(detector.runs) - 1, 0, -1):
        run = detector.runs[index]
        later += run.weight
        later_total += run.total
        earlier = n - later
        gap = later_total - later * mean
        # Twice a Gaussian's ratio bounds the two-point ratio from above, and spares nearly all logarithms.
        if earlier <= 0 or gap * gap * n <= (BASE + best) * variance * later * earlier:
            continue
        ratio = later * _rate(mean, variance, gap / later) + earlier * _rate(mean, variance, -gap / earlier)
        if ratio - threshold(later) > best:
            best, split = ratio - threshold(later), index
    return _alarm_at(detector, split) if split > 0 else None


def _rate(mean: float, variance: float, gap: float) -> float:
    """The large-deviation rate of a mean off by `gap`, for the worst bounded outcomes of this variance."""
    room = 1 - mean if gap > 0 else mean
    if room <= 0:
        return 0.0
    other = variance / room
    p = other / (room + other)
    q = min(1.0, (abs(gap) + other) / (room + other))
    return bernoulli_divergence(q, p)


def bernoulli_divergence(q: float, p: float) -> float:
    """KL(q ‖ p) in nats."""
    inside = q * math.log(q / p) if q > 0 else 0.0
    return inside + ((1 - q) * math.log((1 - q) / (1 - p)) if q < 1 else 0.0)


def _alarm_at(detector: Detector, split: int) -> Alarm:
    later = detector.runs[split:]
    n_after, total_after = sum(run.weight for run in later), sum(run.total for run in later)
    n_before, total_before = detector.weight - n_after, detector.total - total_after
    return Alarm(later[0].since, total_before / n_before, total_after / n_after, n_before, n_after)


def restarted(detector: Detector, since: float) -> Detector:
    """The detector of the regime that began at `since`: only what came from then on."""
    runs = tuple(run for run in detector.runs if run.since >= since)
    return Detector(
        runs,
        sum(run.weight for run in runs),
        sum(run.total for run in runs),
        sum(run.squares for run in runs),
        detector.seen,
    )


# What earlier evidence counts for at most in a new regime: twenty outcomes are soon outvoted.
CARRIED_WORTH = 20.0

# To be believed in full a change has to be likelier than this: as rare as one in 10,000 outcomes, and rarer
# still while few outcomes speak for it.
PRIOR_AGAINST = math.log(10_000)
PRIOR_STREAK = 1_000.0


@dataclass(frozen=True, slots=True)
class Regime:
    """From when on a path's evidence counts for choosing in full. What came before counts as far as it is in
    doubt that something changed: on the path itself, or on the leader whose fall shook it."""

    since: float = -math.inf
    shaken_by: str | None = None


def regimes_after(found: Alarm, changed: str, leader: str, weights: Mapping[str, float]) -> dict[str, Regime]:
    """The regimes that a change opens: the changed path's own, and, if it was the leader and fell, those of
    the other paths whose evidence (`weights`) is worth more than earlier evidence may be: what moved one
    path may have moved all."""
    opened = {changed: Regime(found.since)}
    if changed == leader and found.after < found.before:
        shaken = [path for path, weight in weights.items() if weight > CARRIED_WORTH and path != changed]
        opened |= dict.fromkeys(shaken, Regime(found.since, shaken_by=changed))
    return opened


def carried(earlier: Histogram, doubted: float) -> Histogram:
    """What all evidence before a regime still adds to the regime's own: a few outcomes' worth, and more as
    far as the change is doubted (`doubt` of the path's own two histograms, or of those of the leader that
    shook it).

    A leader that is believed dead is not tried again, so without this part one false alarm in a run of
    10,000 cost four times the run's whole regret; with it the next few outcomes settle the matter."""
    return earlier.capped(max(CARRIED_WORTH, doubted * earlier.weight))


def doubt(earlier: Histogram, own: Histogram) -> float:
    """The probability that nothing changed between the two, by their likelihood ratio."""
    n, m = earlier.weight, own.weight
    if n <= 0 or m <= 0:
        return 1.0
    together = earlier + own
    mean, variance = together.mean, max(together.variance, SMALLEST_SPREAD**2)
    ratio = n * _rate(mean, variance, earlier.mean - mean) + m * _rate(mean, variance, own.mean - mean)
    return 1 / (1 + math.exp(min(ratio - PRIOR_AGAINST - math.log1p(PRIOR_STREAK / m), 700.0)))

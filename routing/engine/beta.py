"""The Beta distribution as far as choosing needs it: distribution function, quantiles, fitting."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
SMALLEST = 1e-300


def fit(mean: float, variance: float) -> tuple[float, float]:
    """The (a, b) with this mean and variance, both inside what a Beta can have."""
    size = mean * (1 - mean) / variance - 1
    return mean * size, (1 - mean) * size


def log_norm(a: float, b: float) -> float:
    return math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)


def cdf(a: float, b: float, x: float) -> float:
    """P(X <= x): the regularised incomplete beta function, to about 1e-12."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    front = math.exp(log_norm(a, b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _continued_fraction(a, b, x) / a
    return 1.0 - front * _continued_fraction(b, a, 1 - x) / b


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation; it converges in O(sqrt(max(a, b))) steps on the side that `cdf` picks."""
    c, d = 1.0, 1.0 / _nonzero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _nonzero(1 + term * d)
            c = _nonzero(1 + term / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-13:
            break
    return fraction


def _nonzero(x: float) -> float:
    return x if abs(x) > SMALLEST else SMALLEST


@lru_cache(maxsize=20_000)
def quantile(a: float, b: float, share: float) -> float:
    """The x with P(X <= x) = share, by Newton's steps, and bisection where they leave the bracket."""
    low, high = 0.0, 1.0
    x = _first_guess(a, b, share)
    for _ in range(100):
        miss = cdf(a, b, x) - share
        low, high = (low, x) if miss > 0 else (x, high)
        if abs(miss) < 1e-9 or high - low < 1e-15:
            break
        slope = density(a, b, x)
        step = x - miss / slope if slope > 0 else low
        x = step if low < step < high else (low + high) / 2
    return x


def _first_guess(a: float, b: float, share: float) -> float:
    """The normal quantile of the same mean and variance, with the first term for the skew (Cornish and Fisher)."""
    mean, size = a / (a + b), a + b
    deviation = math.sqrt(mean * (1 - mean) / (size + 1))
    skew = 2 * (b - a) * math.sqrt(size + 1) / ((size + 2) * math.sqrt(a * b))
    z = _NORMAL.inv_cdf(share)
    guess = mean + deviation * (z + (z * z - 1) * skew / 6)
    return guess if 0.0 < guess < 1.0 else mean


def density(a: float, b: float, x: float) -> float:
    if not 0.0 < x < 1.0:
        return 0.0
    return math.exp(log_norm(a, b) + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x))

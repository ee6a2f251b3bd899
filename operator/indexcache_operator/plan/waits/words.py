"""Writes durations, rates and tests as people read them."""

from datetime import timedelta

from indexcache_core.contexts import context_label
from indexcache_core.evidence.guardrails import IN_RESOURCE

from indexcache_operator.plan.facts.memory import TestKey

_UNITS = (("d", 24 * 60), ("h", 60), ("m", 1))
LONGEST = timedelta(days=1000)
"""What lasts longer isn't estimated: at the rate seen it doesn't end."""


def about(minutes: float) -> str:
    """Return a time to wait in its largest fitting unit, rounded up: "20m", "3h", "2d"."""
    whole = max(-(-minutes // 1), 1)
    name, length = next((name, length) for name, length in _UNITS if whole >= 2 * length or length == 1)
    return f"{-(-whole // length):.0f}{name}"


def two_digits(rate: float) -> float:
    """Return a rate rounded to two digits, so that it is written anew only where it changed."""
    return float(f"{rate:.2g}")


def test(key: TestKey, k: int | None) -> str:
    """Return what a test or a certificate is of: "overlap at 129-256 tokens in decode"."""
    out = IN_RESOURCE[key.guardrail]
    if key.site is not None:
        out += f" of indexer {key.site}"
    if key.context is not None and k:
        out += f" at {context_label(key.context, k)} tokens"
    if key.work is not None:
        out += f" in {key.work}"
    return out

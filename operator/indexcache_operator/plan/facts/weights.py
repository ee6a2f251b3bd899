"""Weights of a route's backends: pure arithmetic on the rule's list, foreign backends in proportion.

Weights of a rule are relative to their sum. The backend of the baseline had weight W (1 if unset); for a
share of w percent it gets (100 - w) W and the canary's w W, and every foreign backend 100 times what it had:
all ratios between others stay as they were. A share of 0 is the original list itself, without the canary's
backend: with weight 0 some gateways still send to it.

A backend may name a namespace. One in another namespace than the route's is foreign, whatever its name: a
Service of somebody else's.
"""

import math
from collections.abc import Sequence

from indexcache_operator.api.status import Backend

MAX_WEIGHT = 1_000_000  # Gateway API's


def baseline_index(backends: Sequence[Backend], service: str, namespace: str) -> int | None:
    """Return where the list names the baseline's Service, which is in the route's namespace."""
    return next((i for i, b in enumerate(backends) if _is_service(b, service, namespace)), None)


def names(backends: Sequence[Backend], service: str, namespace: str) -> bool:
    """Return whether the list names this Service of the route's namespace."""
    return baseline_index(backends, service, namespace) is not None


def weighted(
    original: Sequence[Backend], baseline: str, canary: str, percent: int, namespace: str
) -> tuple[Backend, ...]:
    """Return the list that sends `percent` of the baseline's share to the canary.

    The canary's backend is a copy of the baseline's, filters included, right after it. At 100 the baseline's
    is left out, never at weight 0. ValueError if the original doesn't name the baseline.
    """
    if percent <= 0:
        return tuple(original)
    at = baseline_index(original, baseline, namespace)
    if at is None:
        raise ValueError(f"no backend is the Service {baseline}")
    out: list[Backend] = []
    for i, backend in enumerate(original):
        weight = int(backend.get("weight", 1))
        if i != at:
            out.append({**backend, "weight": weight * 100})
            continue
        if percent < 100:
            out.append({**backend, "weight": weight * (100 - percent)})
        out.append({**backend, "name": canary, "weight": weight * percent})
    if max(b["weight"] for b in out) > MAX_WEIGHT:
        divisor = math.gcd(*(b["weight"] for b in out))
        out = [{**b, "weight": b["weight"] // divisor} for b in out]
    return tuple(out)


def too_heavy(
    original: Sequence[Backend], baseline: str, canary: str, percents: Sequence[int], namespace: str
) -> bool:
    """Return whether some step's weights can't be written down."""
    return any(
        b["weight"] > MAX_WEIGHT
        for p in percents
        for b in weighted(original, baseline, canary, p, namespace)
        if "weight" in b
    )


def _is_service(backend: Backend, service: str, namespace: str) -> bool:
    kind = not backend.get("group") and backend.get("kind", "Service") == "Service"
    return kind and backend.get("name") == service and backend.get("namespace") in (None, "", namespace)

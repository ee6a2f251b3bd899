"""Chooses the canary's pods: how many a weight takes, and which."""

from indexcache_operator.plan.facts.situation import Situation


def canary_count(weight: int, replicas: int, routed: bool) -> int:
    """Return how many of the pods are exposed for a weight: its share, at least one, and with a route one is
    left for the baseline.
    """
    most = replicas - 1 if routed else replicas
    return max(1, min(most, int(replicas * weight / 100 + 0.5)))


def choose(situation: Situation, count: int) -> tuple[str, ...]:
    """Return the canary's pods: those chosen before that still exist, then ready ones in order of name.

    One ready pod stays at the baseline. Where pods were lost so that none would stay, the last chosen are
    given back.
    """
    snapshot = situation.snapshot
    present = {p.name: p for p in snapshot.pods}
    chosen = [name for name in situation.status.canary_pods if name in present]
    others = sorted(
        p.name for p in snapshot.ready if p.name not in chosen and p.current and p.state is not None
    )
    spare = 1 if snapshot.routed else 0
    while len(chosen) < count and len(others) > spare:
        chosen.append(others.pop(0))
    while chosen and spare and not others and not any(p.name not in chosen for p in snapshot.ready):
        chosen.pop()
    return tuple(chosen)

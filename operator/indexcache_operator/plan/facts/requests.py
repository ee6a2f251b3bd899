"""Users' requests since a mark, by the engines' own counters: what tells where traffic goes.

Counters are as old as their engines. An engine that did not answer when the mark was made, or started since,
counts from what it shows first: its past says nothing of the traffic since the mark.
"""

from dataclasses import replace

from indexcache_operator.plan.facts.memory import Life, Mark
from indexcache_operator.plan.facts.snapshot import Snapshot


def begin(snapshot: Snapshot, setting: str, number: int = 1) -> Mark:
    """Return a mark at this look."""
    return Mark(setting=setting, since=snapshot.now, admitted=admitted(snapshot), number=number)


def since(snapshot: Snapshot, mark: Mark) -> tuple[dict[Life, int], Mark]:
    """Return the requests admitted since the mark by every engine that answers, and the mark with those that
    it did not know.
    """
    now = admitted(snapshot)
    mark = replace(mark, admitted={**now, **mark.admitted})
    return {life: max(n - mark.admitted[life], 0) for life, n in now.items()}, mark


def admitted(snapshot: Snapshot) -> dict[Life, int]:
    """Return the requests that each life of an engine has admitted, of those that answer."""
    return {
        (p.name, p.state.incarnation): p.state.requests.admitted_baseline + p.state.requests.admitted_reuse
        for p in snapshot.observation.pods
        if p.state is not None
    }

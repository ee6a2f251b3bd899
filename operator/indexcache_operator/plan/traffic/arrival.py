"""Tells whether traffic went where the route says, by the engines' own counters
(indexcache_core/evidence/traffic.py says why and how).

Counting begins when every gateway accepted the route's generation, and begins anew when the counters
contradict it. Expected is the share of users' requests that pods of the canary get. If some of them stand
behind the canary's Service alone, those are the ones that are counted: of a weight w they get the part that
they are of that Service's pods, and nothing else. If all stand behind the baseline's Service too, their part
of its requests is expected as well: for a part q of the baseline's pods, w + (1 - w) q.
"""

from dataclasses import replace

from indexcache_core.evidence import traffic
from indexcache_core.evidence.traffic import Reached

from indexcache_operator.plan.facts import requests
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Seen, Situation
from indexcache_operator.plan.facts.snapshot import Snapshot, route_accepted

HALF_EVEN = 0.5
"""Of an even share of all ready pods: what a pod would get at least, did a gateway still send to it as to the
others.
"""


def observe(situation: Situation) -> tuple[Seen, Memory]:
    """Return what is seen of `status.traffic.desired`, and the memory that counts on from here.

    The caller makes sure that the route's backends are those of the desired weight.
    """
    snapshot, status, memory = situation.snapshot, situation.status, situation.memory
    if not route_accepted(snapshot) or snapshot.observation.route is None:
        return Seen(reached=Reached.UNKNOWN), replace(memory, mark=None)
    counted, part, q = _counted(situation)
    behind, generation = sorted(_behind_baseline(snapshot)), snapshot.observation.route.generation
    setting = f"{status.traffic.desired}@{generation}/{sorted(counted)}/{part}/{behind}"
    mark = memory.mark
    if mark is None or mark.setting != setting:
        return Seen(reached=Reached.UNKNOWN), replace(memory, mark=requests.begin(snapshot, setting))
    if any(p.state is None for p in snapshot.ready if p.name in status.canary_pods):
        return Seen(reached=Reached.UNKNOWN, counted_for=snapshot.since(mark.since), blind=True), memory
    new, mark = requests.since(snapshot, mark)
    total, canary = sum(new.values()), sum(n for life, n in new.items() if life[0] in counted)
    old, new_share = (
        w / 100 * part + (1 - w / 100) * q for w in (status.traffic.previous, status.traffic.desired)
    )
    if (
        old == new_share == 0.0 and mark.number > 1
    ):  # none was ever given, and yet some was seen: as much as draining.py wants refuted
        old = HALF_EVEN / max(len(snapshot.ready), 1)
    reached = traffic.judge(canary, total, old=old, new=new_share, delta=traffic.spent(mark.number))
    percent = None
    if total and part > q:
        percent = round(100 * min(max((canary / total - q) / (part - q), 0.0), 1.0))
    seen = Seen(reached=reached, requests=total, percent=percent, counted_for=snapshot.since(mark.since))
    if reached is Reached.NO:
        mark = requests.begin(snapshot, setting, mark.number + 1)
    return seen, replace(memory, mark=mark)


def _behind_baseline(snapshot: Snapshot) -> set[str]:
    return {p.name for p in snapshot.ready if p.baseline_label}


def _counted(situation: Situation) -> tuple[frozenset[str], float, float]:
    """Return the pods whose requests are counted, and their part of the canary's Service and of the
    baseline's.
    """
    snapshot, status = situation.snapshot, situation.status
    canary = {p.name for p in snapshot.ready if p.canary_label and p.name in status.canary_pods}
    behind = _behind_baseline(snapshot)
    if alone := canary - behind:
        return frozenset(alone), len(alone) / len(canary), 0.0
    chosen = frozenset(status.canary_pods)
    return chosen, 1.0, len(behind & chosen) / len(behind) if behind else 0.0

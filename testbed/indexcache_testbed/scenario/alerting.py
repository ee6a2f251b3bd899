"""Tells when a rollout's alert rules first held, by Prometheus' own record."""

import time
from collections.abc import Sequence
from typing import Any

import aiohttp

from indexcache_testbed.scenario import kubectl

EVALUATED_EVERY = 1.0
"""Seconds between two evaluations of a rule (`evaluation_interval` of the testbed's Prometheus)."""
STEP = 0.1
"""Seconds between two moments at which a rule's expression is looked up in the record."""


async def prometheus(session: aiohttp.ClientSession, path: str, **query: Any) -> Any:
    """Return `data` of an answer of Prometheus' API. Raises RuntimeError with the answer if it is none."""
    spec = (await kubectl.get("service", "prometheus", "monitoring"))["spec"]
    url = f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}/api/v1/{path}"
    async with session.get(url, params={k: str(v) for k, v in query.items()}) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {await answer.text()}")
        return (await answer.json())["data"]


async def first_held(uid: str, revision: str, began: float) -> float | None:
    """Return the moment from which an alert rule about this revision of a rollout could be seen to hold; None
    if there is none.

    Moments are seconds of time.monotonic(); `began` is where to start. That moment is the first evaluation
    that fired, or the beginning of the first stretch in which the expression held without a break for as long
    as two evaluations are apart, if that is earlier: a shorter one can lie between two of them.
    """
    offset = time.time() - time.monotonic()
    span = {"start": began + offset, "end": time.time(), "timeout": "20s"}
    moments = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        groups = (await prometheus(session, "rules", type="alert"))["groups"]
        rules = [r["query"] for group in groups for r in group["rules"] if r["name"].startswith("IndexCache")]
        for rule in rules:
            held = await prometheus(session, "query_range", query=rule, step=STEP, **span)
            moments += [
                lasting(_times(series), step=STEP, at_least=EVALUATED_EVERY)
                for series in held["result"]
                if (series["metric"].get("uid"), series["metric"].get("revision")) == (uid, revision)
            ]
        firing = (
            f'ALERTS{{alertname=~"IndexCache.*", alertstate="firing", uid="{uid}", revision="{revision}"}}'
        )
        fired = await prometheus(session, "query_range", query=firing, step=STEP, **span)
        moments += [_times(series)[0] for series in fired["result"]]
    return min((moment - offset for moment in moments if moment is not None), default=None)


def lasting(moments: Sequence[float], *, step: float, at_least: float) -> float | None:
    """Return the beginning of the first stretch of ascending moments, each within 1.5 `step` of the one
    before, that lasts `at_least` so many seconds; None if there is none.
    """
    begin = before = None
    for moment in moments:
        if begin is None or before is None or moment - before > 1.5 * step:
            begin = moment
        if moment - begin >= at_least - step / 2:
            return begin
        before = moment
    return None


def _times(series: dict[str, Any]) -> list[float]:
    return [float(at) for at, _ in series["values"]]

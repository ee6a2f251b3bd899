"""Prefills again what reuse computed: vLLM's own preemption, of requests that we choose.

A preempted request loses its KV and keeps its tokens; it goes to the head of the queue, is looked up in the
prefix cache under the names of the behaviour then in force, and is prefilled again from there. It is what
Scheduler.reset_prefix_cache(reset_running_requests=True) does, but that the cache stays: names keep apart
what it holds (blocks.py).

Tokens in flight, with asynchronous scheduling, are delivered when they come, and vLLM doesn't resume the
request before that: nothing that was generated is lost or generated twice.

Traps: a request that is resumed in the very step must not count as scheduled in the last one, or vLLM sends
its worker no tokens of it. A streaming session that waits for its next part isn't running: it keeps its KV
and goes on as under Continue.
"""

import time
from collections.abc import Collection
from typing import Any


def recompute(scheduler: Any, requests: Collection[str]) -> set[str]:
    """Preempt those of these requests that run, between two steps. Returns them."""
    chosen = [request for request in scheduler.running if request.request_id in requests]
    names = {request.request_id for request in chosen}
    if not chosen:
        return names
    now = time.monotonic()
    for request in reversed(
        chosen
    ):  # each goes before the one preempted last, so they stand in the order in which they ran
        scheduler.running.remove(request)
        scheduler._preempt_request(request, now)
    scheduler.prev_step_scheduled_req_ids.difference_update(names)
    return names

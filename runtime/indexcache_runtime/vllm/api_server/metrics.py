"""vLLM's endpoint plugin: the engine's metrics on the server's own /metrics, and its name and mode on every
answer. It adds no route.

It also takes the header by which a request opts out of reuse (opting_out.py).

The API server and the engine core are two processes. A thread of the first polls the second's control port
over loopback and keeps the last state; a collector renders what is kept. So a scrape never waits, the event
loop never blocks, and when the engine hangs the numbers stay and their age, a metric, grows.

Trap: vLLM loads endpoint plugins only if VLLM_PLUGINS names them; where it is unset, endpoint_loading.py has
this one loaded.
"""

import http.client
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from indexcache_core.contract import State
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import ValidationError

from indexcache_runtime.access import Credentials, NoToken, bearer, port
from indexcache_runtime.vllm.api_server.exposition import families
from indexcache_runtime.vllm.api_server.headers import Headers
from indexcache_runtime.vllm.api_server.opting_out import OptOut
from indexcache_runtime.vllm.logs import log_as_vllm_does

logger = logging.getLogger(__name__)

NAME = "indexcache"
"""The entry points' name, in every group."""
POLL_SECONDS = 0.5


class StateCollector(Collector):
    """Collects the metrics of the last state that was read."""

    def __init__(self) -> None:
        self._last: tuple[State, float] | None = None
        self.token_problem: str | None = None
        """What is wrong with the control token's file; None: nothing."""

    def keep(self, state: State, now: float) -> None:
        """Keep a state that was read at `now` of the monotonic clock."""
        self._last = state, now

    @property
    def mode(self) -> str:
        """Return the engine's mode, as last read; "unknown" before that."""
        return self._last[0].mode.value if self._last else "unknown"

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as prometheus_client asks for them."""
        last = self._last
        readable = GaugeMetricFamily(
            "indexcache_token_readable", "Whether the control token's file can be read as it is now"
        )
        readable.add_metric([], float(self.token_problem is None))
        yield readable
        yield from families(None, None) if last is None else families(last[0], time.monotonic() - last[1])


class Poller(threading.Thread):
    """Reads the state again and again, for as long as the process lives."""

    def __init__(self, collector: StateCollector, number: int, credentials: Credentials) -> None:
        super().__init__(name="indexcache-metrics", daemon=True)
        self._collector, self._port, self._credentials = collector, number, credentials
        self._connection: http.client.HTTPConnection | None = None
        self._stopped = threading.Event()

    def run(self) -> None:
        """Poll until stopped."""
        failing = False
        while not self._stopped.wait(POLL_SECONDS):
            try:
                self._collector.keep(self.read(), time.monotonic())
                failing = False
            except (OSError, http.client.HTTPException, ValidationError) as e:
                self._connection = None
                if not failing:  # once, not twice a second: the age of the metrics tells the rest
                    logger.warning(
                        "indexcache: the control port %d on loopback doesn't answer: %s", self._port, e
                    )
                failing = True

    def stop(self) -> None:
        """Stop soon."""
        self._stopped.set()

    def read(self) -> State:
        """Read the state now. Raises OSError, HTTPException or ValidationError."""
        self._credentials.refresh()
        self._collector.token_problem = self._credentials.problem
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        self._connection.request(
            "GET", "/v1/state", headers={"Authorization": bearer(self._credentials.token)}
        )
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise http.client.HTTPException(f"status {response.status}: {body[:200]!r}")
        return State.model_validate_json(body)


class Endpoint:
    """Implements vllm.plugins.endpoint_plugins.interface.EndpointPlugin."""

    name = NAME
    required_tasks = None

    def __init__(self) -> None:
        self._collector = StateCollector()

    def attach_router(self, app: Any) -> None:
        """Add headers, and no routes: control is never on the users' port."""
        app.add_middleware(OptOut)
        app.add_middleware(Headers, mode=lambda: self._collector.mode)

    async def init_state(self, engine_client: Any, state: Any, args: Any) -> None:
        """Start polling and register the collector, once an engine is there."""
        if engine_client is None:
            return
        from vllm.v1.metrics.prometheus import get_prometheus_registry

        log_as_vllm_does()
        try:
            credentials, number = Credentials.from_environment(), port()
        except (NoToken, ValueError) as e:
            logger.warning("indexcache: no metrics: %s", e)
            return
        get_prometheus_registry().register(self._collector)
        Poller(self._collector, number, credentials).start()


def endpoint() -> Endpoint:
    """Make the plugin, as the entry point of vllm.endpoint_plugins."""
    return Endpoint()

"""One look, with what every decision asks of it already worked out. Reads only; nothing here decides."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from indexcache_core.contract import Mode

from indexcache_operator import names
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import PodStatus, Status
from indexcache_operator.model import EnginePod, Observation
from indexcache_operator.plan import route_math
from indexcache_operator.plan.revision import revision

OFF = "off"
PERMIT_MARGIN = timedelta(seconds=5)
"""After which a permit has lapsed for certain: an engine notices within one, clocks aside."""


def wants_on(desired: str) -> bool:
    """Return whether flags of this name (PodStatus.desired) turn reuse on."""
    return desired.startswith("on-")


@dataclass(frozen=True)
class Look:
    """An observation and the answers to common questions about it."""

    o: Observation

    @property
    def now(self) -> datetime:
        """Return the observation's time."""
        return self.o.now

    @property
    def spec(self) -> Spec:
        """Return the spec. ValueError where none could be read: callers that may run without one ask `o.spec`."""
        if self.o.spec is None:
            raise ValueError(f"no spec: {self.o.spec_problem}")
        return self.o.spec

    @property
    def wanted_revision(self) -> str:
        """Return the revision that the spec asks for; empty without a spec."""
        return revision(self.o.spec) if self.o.spec else ""

    @property
    def pods(self) -> tuple[EnginePod, ...]:
        """Return the pods that aren't on their way out."""
        return tuple(p for p in self.o.pods if not p.deleting)

    @property
    def ready(self) -> tuple[EnginePod, ...]:
        """Return the pods that serve."""
        return tuple(p for p in self.pods if p.ready)

    @property
    def baseline_service(self) -> str:
        """Return the Service that the user's route names."""
        return names.baseline_service(self.o.name)

    @property
    def canary_service(self) -> str:
        """Return the Service that takes the canary's share."""
        return names.canary_service(self.o.name)

    @property
    def routed(self) -> bool:
        """Return whether a route splits the traffic, by the spec."""
        return self.o.spec is not None and self.o.spec.traffic.http_route is not None

    def since(self, time: datetime | None) -> timedelta:
        """Return how long ago a time was; nothing if it never was or lies ahead, as the clocks of two operators differ."""
        return max(self.now - time, timedelta()) if time is not None else timedelta()


def may_be_on(pod: EnginePod, kept: PodStatus, since: timedelta) -> bool:
    """Return whether reuse may run on a pod: its engine says so, or can't be asked and its permit may not have lapsed.

    `since`: how long ago it was last renewed, at least.
    """
    if pod.state is not None:
        return pod.state.mode is Mode.ON
    return kept.permit > timedelta() and since <= kept.permit + PERMIT_MARGIN


def pod_status(status: Status, name: str) -> PodStatus:
    """Return what is kept of a pod; a new one was told nothing yet."""
    return next((p for p in status.pods if p.name == name), PodStatus(name=name))


def route_has_canary(look: Look) -> bool:
    """Return whether the user's rule names the canary's Service now."""
    return look.o.route is not None and route_math.names(look.o.route.backends, look.canary_service, look.o.namespace)


def route_accepted(look: Look) -> bool:
    """Return whether every gateway reports the route's present generation as accepted."""
    route = look.o.route
    return route is not None and route.found and route.accepted_generation is not None and route.accepted_generation >= route.generation

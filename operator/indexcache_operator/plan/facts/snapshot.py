"""Holds one look, with what every decision asks of it already worked out. Reads only; nothing here
decides."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from indexcache_core.contract import Mode

from indexcache_operator import names
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import PodStatus, Status
from indexcache_operator.model import EnginePod, Observation
from indexcache_operator.plan.facts import weights
from indexcache_operator.plan.facts.revision import revision

OFF = "off"
PERMIT_MARGIN = timedelta(seconds=5)
"""After which a permit has lapsed for certain: an engine notices within one, clocks aside."""


def wants_on(desired: str) -> bool:
    """Return whether flags of this name (PodStatus.desired) turn reuse on."""
    return desired.startswith("on-")


@dataclass(frozen=True)
class Snapshot:
    """An observation and the answers to common questions about it."""

    observation: Observation

    @property
    def now(self) -> datetime:
        """Return the observation's time."""
        return self.observation.now

    @property
    def spec(self) -> Spec:
        """Return the spec.

        Raises ValueError where none could be read: callers that may run without one ask `observation.spec`.
        """
        if self.observation.spec is None:
            raise ValueError(f"no spec: {self.observation.spec_problem}")
        return self.observation.spec

    @property
    def wanted_revision(self) -> str:
        """Return the revision that the spec asks for; empty without a spec."""
        if self.observation.spec is None:
            return ""
        status = self.observation.status
        known = (status.revision, *(rejected.revision for rejected in status.rejected))
        return revision(self.observation.spec, *known, pinned=status.runtime)

    @property
    def pods(self) -> tuple[EnginePod, ...]:
        """Return the pods that aren't on their way out."""
        return tuple(p for p in self.observation.pods if not p.deleting)

    @property
    def ready(self) -> tuple[EnginePod, ...]:
        """Return the pods that serve."""
        return tuple(p for p in self.pods if p.ready)

    @property
    def baseline_service(self) -> str:
        """Return the Service that the user's route names."""
        return names.baseline_service(self.observation.name)

    @property
    def canary_service(self) -> str:
        """Return the Service that takes the canary's share."""
        return names.canary_service(self.observation.name)

    @property
    def k(self) -> int | None:
        """Return how many tokens the model's indexers choose, as the engines say; None if none has said
        it.
        """
        return next((p.state.sites[0].k for p in self.observation.pods if p.state and p.state.sites), None)

    @property
    def paused(self) -> str:
        """Return why no step begins and no deadline runs; empty where nothing holds it up."""
        if self.observation.unknown_fields:
            fields = ", ".join(self.observation.unknown_fields)
            return (
                f"this operator's version doesn't know {fields}; upgrade it, or remove what it doesn't know"
            )
        return "spec.paused" if self.observation.spec is not None and self.observation.spec.paused else ""

    @property
    def routed(self) -> bool:
        """Return whether a route splits the traffic, by the spec."""
        return self.observation.spec is not None and self.observation.spec.traffic.http_route is not None

    def since(self, time: datetime | None) -> timedelta:
        """Return how long ago a time was; nothing if it never was or lies ahead, as the clocks of two
        operators differ.
        """
        return max(self.now - time, timedelta()) if time is not None else timedelta()


def may_be_on(pod: EnginePod, kept: PodStatus, since: timedelta) -> bool:
    """Return whether reuse may run on a pod: its engine says so, or can't be asked and its permit may not
    have lapsed.

    `since`: how long ago it was last renewed, at least.
    """
    if pod.state is not None:
        return pod.state.mode is Mode.ON
    return kept.permit > timedelta() and since <= kept.permit + PERMIT_MARGIN


def pod_status(status: Status, name: str) -> PodStatus:
    """Return what is kept of a pod; a new one was told nothing yet."""
    return next((p for p in status.pods if p.name == name), PodStatus(name=name))


def route_has_canary(snapshot: Snapshot) -> bool:
    """Return whether the user's rule names the canary's Service now. One that can't be read may, once it was
    to be changed: it was seen before it was written last.
    """
    seen = snapshot.observation
    if seen.route is not None and seen.route.unread and seen.status.route is not None:
        return True
    return seen.route is not None and weights.names(
        seen.route.backends, snapshot.canary_service, seen.namespace
    )


def route_accepted(snapshot: Snapshot) -> bool:
    """Return whether every gateway reports the route's present generation as accepted."""
    route = snapshot.observation.route
    return (
        route is not None
        and route.found
        and route.accepted_generation is not None
        and route.accepted_generation >= route.generation
    )

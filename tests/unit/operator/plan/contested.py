"""Two operators over one small world: what one does rests on a look that is older than what the other has
done.

The API server's fences are here as they are there: a status, a route and a pod's labels are written only as
they were looked at, an engine takes no older epoch. What is refused is a failure of that action, as
act/perform.py has it: what relies on it isn't done, the rest is.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from indexcache_operator import model
from indexcache_operator.api.status import Phase, Status
from indexcache_operator.model import Observation, Plan
from indexcache_operator.plan import plan
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.phases.table import followers
from indexcache_runtime.control.switch import CallRefused

from tests.unit.operator.plan.world import World


class Refused(Exception):
    """A write that a fence kept out."""


@dataclass(kw_only=True)
class Look:
    """Holds one look, what follows from it, and the versions of what was seen."""

    observation: Observation
    plan: Plan[Memory]
    seen: Status
    """As it was looked at, or written since."""
    status: int
    labels: dict[str, int]
    left: list[model.Action]
    """What is still to be done."""
    unlabelled: bool = False


@dataclass(kw_only=True)
class Operator:
    """Remembers what one operator does from turn to turn."""

    term: int = 0
    memory: Memory | None = None
    look: Look | None = None


@dataclass
class Contested(World):
    """A world with versions, and counts of what was refused."""

    refused: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.version = 0
        self.label_versions: Counter[str] = Counter()
        self.told: dict[tuple[str, int], set[str]] = {}
        """Contents of flags that engines accepted, by incarnation and epoch."""
        self.events: list[str] = []

    def write(self, status: Status) -> None:
        before = self.status
        super().write(status)
        self.version += self.status is not before

    # ---------------------------------------------------------------- what an operator does

    def looks(self, operator: Operator) -> None:
        """Let an operator look and plan."""
        self.term = operator.term
        observation = self.observe()
        made = plan(observation, operator.memory)
        assert made.status.phase in followers(observation.status.phase)
        operator.memory = made.memory
        operator.look = Look(
            observation=observation,
            plan=made,
            seen=observation.status,
            status=self.version,
            labels=dict(self.label_versions),
            left=list(made.actions),
        )

    def acts(self, operator: Operator, most: int | None = None) -> None:
        """Let an operator do what it planned, or only so many actions of it."""
        look = operator.look
        while look is not None and look.left and most != 0:
            self._does(operator, look, look.left.pop(0))
            most = None if most is None else most - 1
        if look is not None and not look.left and most != 0:
            operator.look = None
            if not self.gone:
                self._persists(look)

    def turn(self, operator: Operator) -> None:
        """Let an operator look and do all that follows."""
        self.looks(operator)
        self.acts(operator)

    def _does(self, operator: Operator, look: Look, action: model.Action) -> None:
        if look.unlabelled and isinstance(action, model.PatchRoute):
            return
        try:
            self._fenced(look, action)
        except Refused:
            self.refused[type(action).__name__] += 1
            look.unlabelled |= isinstance(action, model.SetLabels)
            if isinstance(action, model.PersistStatus | model.DeleteWorkload | model.ReleaseWorkload):
                look.left.clear()
                operator.look = None

    def _fenced(self, look: Look, action: model.Action) -> None:
        match action:
            case model.PersistStatus():
                if not self._persists(look):
                    raise Refused
            case model.SetLabels():
                if self.label_versions[action.pod] != look.labels.get(action.pod, 0):
                    raise Refused
                self.act(action, look.plan)
                self.label_versions[action.pod] += 1
            case model.PatchRoute():
                if action.resource_version != str(self.route_generation):
                    raise Refused
                self.act(action, look.plan)
            case model.PutFlags():
                self._puts(look, action)
            case model.Event():
                self.events.append(action.reason)
            case _:
                self.act(action, look.plan)

    def _persists(self, look: Look) -> bool:
        """Write the status if it is the one that was looked at. Return whether it is written."""
        if look.plan.status == look.seen:
            return True
        if look.status != self.version:
            return False
        self.write(look.plan.status)
        look.status, look.seen = self.version, look.plan.status
        return True

    def _puts(self, look: Look, action: model.PutFlags) -> None:
        pod = self.pods.get(action.pod)
        try:
            self.act(action, look.plan)
        except CallRefused:
            raise Refused from None
        if pod is not None and pod.reachable:
            contents = self.told.setdefault((action.desired.incarnation, action.desired.epoch), set())
            contents.add(action.desired.model_dump_json())

    def after(self, check: Callable[[World], None]) -> None:
        """Let time pass, note the phase, and check."""
        if not self.phases or self.phases[-1] is not self.status.phase:
            self.phases.append(self.status.phase)
        self.pass_time(check)

    @property
    def ended(self) -> bool:
        return self.status.phase in (Phase.PROMOTED, Phase.FELL_BACK)

"""The operator's own metrics. Every rollout that ends badly is counted here, whoever looks at events."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from indexcache_operator.api.status import Phase


class Held(Collector):
    """Shows a value for each set of labels, held as a number: a gauge for each of a thousand rollouts takes
    most of a kilobyte, and each rollout has seven.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        """Show nothing yet."""
        self._name, self._documentation, self._labels = name, documentation, labels
        self._values: dict[tuple[str, ...], float] = {}
        REGISTRY.register(self)

    def put(self, labels: tuple[str, ...], value: float) -> None:
        """Show a value."""
        self._values[labels] = value

    def remove(self, labels: tuple[str, ...]) -> None:
        """Show nothing for these labels any more."""
        self._values.pop(labels, None)

    def collect(self) -> Iterator[Metric]:
        """Yield the values, as a scrape asks for them."""
        found = GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, value in self._values.items():
            found.add_metric(labels, value)
        yield found


LEADER = Gauge("indexcache_operator_leader", "1 while this operator leads, and so acts")
LOOKS = Counter("indexcache_operator_looks", "Looks at rollouts, by how they ended", ["outcome"])
LOOK_SECONDS = Histogram(
    "indexcache_operator_look_seconds",
    "Time of one look, plan and act",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ACTIONS = Counter("indexcache_operator_actions", "Actions, by type and how they ended", ["action", "outcome"])
INFORMERS = Gauge(
    "indexcache_operator_informer_current",
    "1 while what is known of a kind is current; else it is read anew in each look",
    ["kind", "namespace"],
)
API_REQUESTS = Counter("indexcache_operator_api_requests", "Requests to the API server", ["verb"])
PROBES = Counter(
    "indexcache_operator_probes",
    "Pairs of probes: answered, failed under reuse, or why they don't count",
    ["outcome"],
)
FALLBACKS = Counter(
    "indexcache_operator_fallbacks", "Intents to fall back, by cause", ["namespace", "rollout", "cause"]
)
ALERTS = Counter("indexcache_operator_alerts", "Alerts received, by what was done", ["outcome"])
WEIGHT = Held(
    "indexcache_operator_rollout_weight",
    "Percent of the traffic meant for the canary",
    ["namespace", "rollout"],
)
REACH = Held(
    "indexcache_operator_reach_tokens",
    "Tokens of context up to which pods may reuse, by which pods: all, or canary; 1e9 without a bound",
    ["namespace", "rollout", "pods"],
)
REACH_SHARE = Held(
    "indexcache_operator_reach_share",
    "Share of the indexers' work within the reach of those who may meet reuse",
    ["namespace", "rollout"],
)
LAST_LOOK = Held(
    "indexcache_operator_last_successful_look_timestamp_seconds",
    "When a look last succeeded",
    ["namespace", "rollout"],
)

PATTERN = ("namespace", "rollout", "uid", "revision", "guardrail")
LOG_EVIDENCE = Held(
    "indexcache_operator_log_evidence",
    "Evidence against the pattern, of the guardrail's test that speaks most against it, in nats",
    PATTERN,
)
LOG_LIMIT = Held(
    "indexcache_operator_log_limit", "Evidence at which the guardrail counts as breached, in nats", PATTERN
)
LOWER_BOUND = Held(
    "indexcache_operator_lower_bound",
    "What the mean is above with probability 1 - badPromotion, of the guardrail's weakest certificate",
    PATTERN,
)


class Phases(Collector):
    """Shows the phase of each rollout, by a value for each phase that there is. Held as one word a rollout:
    nine gauges for each of a thousand would be megabytes.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], Phase] = {}

    def put(self, who: tuple[str, str], phase: Phase) -> None:
        """Show that a rollout, by namespace and name, is in a phase."""
        self._held[who] = phase

    def remove(self, who: tuple[str, str]) -> None:
        """Show nothing of a rollout any more."""
        self._held.pop(who, None)

    def collect(self) -> Iterator[Metric]:
        """Yield the values, as a scrape asks for them."""
        found = GaugeMetricFamily(
            "indexcache_operator_rollout_phase",
            "1 for the phase a rollout is in",
            labels=["namespace", "rollout", "phase"],
        )
        for who, phase in self._held.items():
            for each in Phase:
                found.add_metric([*who, each.value], float(each is phase))
        yield found


PHASES = Phases()
REGISTRY.register(PHASES)


class Figures:
    """Shows one rollout's evidence as metrics; what is no longer said goes."""

    def __init__(self) -> None:
        self._shown: set[tuple[Held, tuple[str, ...]]] = set()

    def show(self, values: Iterable[tuple[Held, tuple[str, ...], float]]) -> None:
        """Show these values, by gauge and labels, and no others of this rollout."""
        shown = set()
        for gauge, labels, value in values:
            gauge.put(labels, value)
            shown.add((gauge, labels))
        for gauge, labels in self._shown - shown:
            gauge.remove(labels)
        self._shown = shown

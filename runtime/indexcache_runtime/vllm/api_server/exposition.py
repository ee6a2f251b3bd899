"""An engine's State as Prometheus metrics. Pure: a State in, metric families out.

Every sample carries on whose behalf the engine works (namespace, rollout, uid, revision), so that an alert
that fires is bound to the very rollout and revision that it speaks of; thresholds are metrics too, so that
alert rules need no numbers of their own. Measurements are summaries without quantiles: `rate(_sum) /
rate(_count)` is a mean over any window.
"""

from collections.abc import Iterator

from indexcache_core.contexts import JUDGED_FROM, context_label
from indexcache_core.contract import Mode, Reason, State
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

IDENTITY = ("namespace", "rollout", "uid", "revision")


def families(state: State | None, age_seconds: float | None) -> Iterator[Metric]:
    """Yield the metrics of a state that was read so long ago; None: never read, then only that is said."""
    up = GaugeMetricFamily("indexcache_control_up", "Whether the engine's control port has ever answered")
    up.add_metric([], float(state is not None))
    yield up
    if state is None or age_seconds is None:
        return
    who = [getattr(state.identity, name) for name in IDENTITY]
    yield _gauge(
        "indexcache_state_age_seconds", "Age of what these metrics say of the engine", who, age_seconds
    )
    yield _labelled(
        "indexcache_info",
        "What the engine is",
        ("engine", "engine_version", "runtime_version", "architecture", "incarnation"),
        who,
        {
            (
                state.engine,
                state.engine_version,
                state.runtime_version,
                state.architecture,
                state.incarnation,
            ): 1.0
        },
    )
    yield _gauge(
        "indexcache_supported", "Whether reuse can be switched in this engine", who, float(state.supported)
    )
    yield _labelled(
        "indexcache_mode",
        "1 for the engine's mode",
        ("mode",),
        who,
        {(m.value,): float(m is state.mode) for m in Mode},
    )
    yield _gauge("indexcache_epoch", "Epoch last accepted", who, state.epoch)
    yield _gauge(
        "indexcache_series_number", "Number of the series that is measured", who, state.series_number
    )
    if state.permit_remaining_seconds is not None:
        yield _gauge(
            "indexcache_permit_remaining_seconds",
            "How long reuse goes on unless renewed",
            who,
            state.permit_remaining_seconds,
        )
    if state.desired.reach_tokens is not None:
        yield _gauge(
            "indexcache_reach_tokens",
            "The longest context that reuse reaches, as last accepted",
            who,
            state.desired.reach_tokens,
        )
    yield _gauge("indexcache_step_age_seconds", "Age of the step now running", who, state.step_seconds)
    yield from _traffic(state, who)
    yield from _measurements(state, who)
    yield from _breaker(state, who)
    yield from _device(state, who)
    thresholds: dict[str, float] = {
        name: value for name, value in state.thresholds.model_dump().items() if value is not None
    }
    yield _labelled(
        "indexcache_guardrail_min",
        "Threshold of a guardrail",
        ("guardrail",),
        who,
        {(k,): v for k, v in thresholds.items()},
    )


def _traffic(state: State, who: list[str]) -> Iterator[Metric]:
    r, s, c = state.requests, state.steps, state.cache
    requests = {
        "admitted_baseline": r.admitted_baseline,
        "admitted_reuse": r.admitted_reuse,
        "touched_by_reuse": r.touched_by_reuse,
        "finished": r.finished,
        "probes": r.probes,
        "opted_out": r.opted_out,
        "beyond_reach": r.beyond_reach,
        "left_reach": r.left_reach,
    }
    yield _counter("indexcache_requests", "Users' requests (and probes, apart)", "kind", who, requests)
    running: dict[tuple[str, ...], float] = {
        ("baseline",): float(r.running_baseline),
        ("reuse",): float(r.running_reuse),
    }
    yield _labelled("indexcache_requests_running", "Users' requests in flight", ("kind",), who, running)
    yield _counter("indexcache_steps", "Engine steps", "kind", who, s.model_dump())
    yield _counter(
        "indexcache_cache_hit_tokens",
        "Tokens from the prefix cache",
        "computed",
        who,
        {"baseline": c.baseline_hits, "reuse": c.reuse_hits},
    )
    yield _counter(
        "indexcache_recomputed_requests",
        "Requests preempted when reuse ended, to be prefilled again at the baseline",
        "",
        who,
        {"": c.recomputed_requests},
    )
    yield _counter(
        "indexcache_resalted_requests",
        "Requests in flight whose blocks changed names at a flip, or where they left the reach of reuse",
        "",
        who,
        {"": c.resalted_requests},
    )


def _measurements(state: State, who: list[str]) -> Iterator[Metric]:
    labels = [*IDENTITY, "site", "layer", "context", "judged", "work", "mode"]
    overlap = SummaryMetricFamily(
        "indexcache_overlap", "Share of the fresh set that the reused set holds", labels=labels
    )
    recall = SummaryMetricFamily(
        "indexcache_recall", "Share of the fresh set's score mass that the reused set covers", labels=labels
    )
    for series in state.observed:
        site = state.sites[series.site or 0]
        where = ("mean", "") if series.site is None else (str(site.index), str(site.layer))
        context, judged = context_label(series.context, site.k), str(series.context >= JUDGED_FROM).lower()
        values = [*who, *where, context, judged, series.work or "", series.mode.value]
        overlap.add_metric(values, series.overlap.count, series.overlap.sum)
        recall.add_metric(values, series.recall.count, series.recall.sum)
    yield overlap
    yield recall


def _breaker(state: State, who: list[str]) -> Iterator[Metric]:
    tripped = float(state.mode is Mode.TRIPPED and state.reason is Reason.BREAKER)
    yield _gauge(
        "indexcache_breaker_tripped",
        "Whether the engine's own breaker ended reuse, and nobody led out of it",
        who,
        tripped,
    )
    evidence: dict[tuple[str, ...], float] = {(t.guardrail,): t.log_e for t in state.breaker}
    limits: dict[tuple[str, ...], float] = {(t.guardrail,): t.log_limit for t in state.breaker}
    about = "of the guardrail's test that is nearest to tripping the breaker, in nats"
    yield _labelled(
        "indexcache_breaker_log_evidence",
        f"Evidence against the pattern {about}",
        ("guardrail",),
        who,
        evidence,
    )
    yield _labelled("indexcache_breaker_log_limit", f"Limit {about}", ("guardrail",), who, limits)


def _device(state: State, who: list[str]) -> Iterator[Metric]:
    steps, seconds = [
        CounterMetricFamily(name, text, labels=[*IDENTITY, "layers", *more])
        for name, text, more in (
            ("indexcache_timed_prefill_steps", "Prefill steps whose time was taken", ()),
            (
                "indexcache_timed_prefill_seconds",
                "Where the time of these steps went on the device",
                ("part",),
            ),
        )
    ]
    for layers, t in (("all-full", state.prefill_full), ("reuse", state.prefill_reuse)):
        if t.steps:
            steps.add_metric([*who, layers], t.steps)
            for part, value in (
                ("indexer", t.indexer_seconds),
                ("attention", t.attention_seconds),
                ("rest", t.rest_seconds),
            ):
                seconds.add_metric([*who, layers, part], value)
    yield steps
    yield seconds
    d = state.device
    held: dict[tuple[str, ...], float] = {("graphs",): d.graph_bytes, ("scratch",): d.scratch_bytes}
    yield _labelled("indexcache_device_bytes", "What switching holds on each device", ("what",), who, held)
    captured: dict[tuple[str, ...], float] = {("captured",): d.graphs, ("wanted",): d.graphs_wanted}
    yield _labelled("indexcache_graphs", "CUDA graphs of the pattern in force", ("state",), who, captured)
    fast = state.fast_indexer
    yield _counter(
        "indexcache_fast_indexer_rows", "Rows of indexer Fast compared with vLLM's", "", who, {"": fast.rows}
    )
    if fast.least_agreement is not None:
        text = "Least share of a row's tokens that score as high as the last that vLLM's kernels choose"
        yield _gauge("indexcache_fast_indexer_least_agreement", text, who, fast.least_agreement)


def _gauge(name: str, text: str, who: list[str], value: float) -> Metric:
    family = GaugeMetricFamily(name, text, labels=IDENTITY)
    family.add_metric(who, value)
    return family


def _labelled(
    name: str, text: str, labels: tuple[str, ...], who: list[str], values: dict[tuple[str, ...], float]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[*IDENTITY, *labels])
    for key, value in values.items():
        family.add_metric([*who, *key], value)
    return family


def _counter(name: str, text: str, label: str, who: list[str], values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[*IDENTITY, *([label] if label else [])])
    for key, value in values.items():
        family.add_metric([*who, *([key] if label else [])], value)
    return family

"""Metrics of a state, as Prometheus reads them."""

from indexcache_core import histogram
from indexcache_core.contract import (
    BreakerTest,
    Cache,
    Flags,
    Identity,
    Mode,
    Reason,
    Requests,
    Series,
    Site,
    State,
    Steps,
    Thresholds,
    Work,
)
from indexcache_runtime.vllm.api_server.exposition import IDENTITY, families
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

WHO = {"namespace": "serving", "rollout": "glm5", "uid": "u-1", "revision": "5f9c"}


def scrape(state: State | None, age: float | None) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    class Fixed(Collector):
        def collect(self):  # type: ignore[no-untyped-def]
            return families(state, age)

    registry = CollectorRegistry()
    registry.register(Fixed())
    text = generate_latest(registry).decode()
    return {
        (s.name, frozenset(s.labels.items())): s.value
        for f in text_string_to_metric_families(text)
        for s in f.samples
    }


def value(samples: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return samples[name, frozenset({**WHO, **labels}.items())]


STATE = State(
    supported=True,
    engine_version="0.32.0",
    runtime_version="0.1.0",
    architecture="DeepseekV32ForCausalLM",
    sites=tuple(Site(index=i, layer=i + 3, domain="tokens", k=64) for i in range(2)),
    incarnation="abc",
    epoch=7,
    mode=Mode.ON,
    desired=Flags(mode=Mode.ON, pattern="FS", reach_tokens=8192),
    identity=Identity(**WHO),
    thresholds=Thresholds(recall=0.36),
    permit_remaining_seconds=12.5,
    series_number=2,
    observed=(
        Series(
            site=None,
            context=2,
            work=Work.DECODE,
            mode=Mode.ON,
            overlap=histogram.of([0.25]),
            recall=histogram.of([0.5]),
        ),
        Series(
            site=1,
            context=2,
            work=Work.PREFILL,
            mode=Mode.ON,
            overlap=histogram.of([0.5, 0.7]),
            recall=histogram.of([0.9, 0.8]),
        ),
        Series(
            site=1,
            context=1,
            work=Work.PREFILL,
            mode=Mode.SHADOW,
            overlap=histogram.of([0.1]),
            recall=histogram.of([0.2]),
        ),
    ),
    requests=Requests(
        admitted_baseline=1,
        admitted_reuse=2,
        touched_by_reuse=3,
        beyond_reach=13,
        left_reach=17,
        finished=4,
        probes=5,
        running_baseline=6,
        running_reuse=7,
    ),
    steps=Steps(full=1, reuse=2, reuse_all_full=3),
    cache=Cache(baseline_hits=10, reuse_hits=20, resalted_requests=30, recomputed_requests=40),
    breaker=(BreakerTest(guardrail="recall", context=2, log_e=3.5, log_limit=9.0, observations=6, mean=0.2),),
    step_seconds=0.25,
)


def test_every_sample_says_on_whose_behalf() -> None:
    for (name, labels), _ in scrape(STATE, 0.5).items():
        assert name.startswith("indexcache_")
        if name != "indexcache_control_up":
            assert set(WHO.items()) <= labels, name
            assert set(IDENTITY) <= {key for key, _ in labels}


def test_what_is_shown() -> None:
    s = scrape(STATE, 0.5)
    assert value(s, "indexcache_state_age_seconds") == 0.5
    assert {m.value: value(s, "indexcache_mode", mode=m.value) for m in Mode} == {
        "off": 0,
        "shadow": 0,
        "on": 1,
        "tripped": 0,
    }
    assert value(s, "indexcache_epoch") == 7
    assert value(s, "indexcache_permit_remaining_seconds") == 12.5
    assert value(s, "indexcache_requests_total", kind="touched_by_reuse") == 3
    assert value(s, "indexcache_requests_total", kind="beyond_reach") == 13
    assert value(s, "indexcache_requests_total", kind="left_reach") == 17
    assert value(s, "indexcache_reach_tokens") == 8192
    assert value(s, "indexcache_requests_running", kind="reuse") == 7
    assert value(s, "indexcache_steps_total", kind="reuse_all_full") == 3
    assert value(s, "indexcache_cache_hit_tokens_total", computed="reuse") == 20
    assert value(s, "indexcache_resalted_requests_total") == 30
    assert value(s, "indexcache_recomputed_requests_total") == 40
    assert value(s, "indexcache_breaker_log_evidence", guardrail="recall") == 3.5
    assert value(s, "indexcache_breaker_log_limit", guardrail="recall") == 9.0
    assert value(s, "indexcache_breaker_tripped") == 0
    assert value(s, "indexcache_step_age_seconds") == 0.25
    where = {
        "site": "1",
        "layer": "4",
        "context": "129-256",
        "judged": "true",
        "mode": "on",
        "work": "prefill",
    }
    assert (value(s, "indexcache_overlap_sum", **where), value(s, "indexcache_overlap_count", **where)) == (
        1.2,
        2,
    )
    assert value(s, "indexcache_recall_sum", **where) == 0.9 + 0.8
    shown = {"site": "1", "layer": "4", "context": "65-128", "judged": "false", "mode": "shadow"}
    assert value(s, "indexcache_recall_count", work="prefill", **shown) == 1
    mean = {**where, "site": "mean", "layer": "", "work": "decode"}
    assert (value(s, "indexcache_overlap_sum", **mean), value(s, "indexcache_recall_count", **mean)) == (
        0.25,
        1,
    )
    assert value(s, "indexcache_guardrail_min", guardrail="recall") == 0.36
    assert {dict(labels)["guardrail"] for name, labels in s if name == "indexcache_guardrail_min"} == {
        "recall"
    }


def test_where_reuse_reaches_every_length_no_reach_is_shown() -> None:
    unbounded = STATE.model_copy(update={"desired": Flags(mode=Mode.ON, pattern="FS")})
    assert not any(name == "indexcache_reach_tokens" for name, _ in scrape(unbounded, 0.5))


def test_no_permit_no_metric_of_it() -> None:
    s = scrape(STATE.model_copy(update={"permit_remaining_seconds": None}), 0.5)
    assert not [name for name, _ in s if name == "indexcache_permit_remaining_seconds"]


def test_a_tripped_breaker_shows() -> None:
    for reason in Reason:
        state = STATE.model_copy(update={"mode": Mode.TRIPPED, "reason": reason})
        assert value(scrape(state, 0.5), "indexcache_breaker_tripped") == float(reason is Reason.BREAKER)


def test_before_the_first_answer_only_that_is_said() -> None:
    assert scrape(None, None) == {("indexcache_control_up", frozenset()): 0.0}


def test_the_device_is_told_where_there_is_one() -> None:
    from indexcache_core.contract import DeviceUse, FastIndexer, StepTime

    timed = StepTime(steps=2, indexer_seconds=3.0, attention_seconds=1.0, rest_seconds=0.5)
    device = DeviceUse(graph_bytes=7, scratch_bytes=5, graphs=3, graphs_wanted=11)
    fast = FastIndexer(rows=13, least_agreement=0.5)
    state = State(supported=True, incarnation="i", prefill_reuse=timed, device=device, fast_indexer=fast)
    samples = {
        (s.name, *s.labels.values()): s.value for family in families(state, 0.0) for s in family.samples
    }
    assert samples[("indexcache_timed_prefill_steps_total", "", "", "", "", "reuse")] == 2
    assert samples[("indexcache_timed_prefill_seconds_total", "", "", "", "", "reuse", "indexer")] == 3.0
    assert samples[("indexcache_device_bytes", "", "", "", "", "graphs")] == 7
    assert samples[("indexcache_graphs", "", "", "", "", "captured")] == 3
    assert samples[("indexcache_fast_indexer_rows_total", "", "", "", "")] == 13
    assert samples[("indexcache_fast_indexer_least_agreement", "", "", "", "")] == 0.5
    assert not any(
        key[-1] == "all-full" for key in samples if key[0] == "indexcache_timed_prefill_steps_total"
    )

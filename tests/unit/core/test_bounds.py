"""The bounds of what users may set: whatever is inside can be decided and sent, whatever is outside can't or
needn't be.
"""

import math
from datetime import timedelta
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_core import bounds
from indexcache_core.contract import Breaker, Desired, Flags, Mode, Thresholds
from indexcache_core.evidence import certificate, detector
from indexcache_core.evidence import guardrails as judged
from indexcache_core.evidence.verdict import log_limit
from indexcache_core.histogram import of
from indexcache_core.pattern import MAX_SITES
from pydantic import TypeAdapter, ValidationError


def many(value: float, n: int) -> Any:
    """Return a histogram of one value, often observed."""
    one = of([value])
    return one.model_copy(update={"counts": tuple(count * n for count in one.counts), "sum": value * n})


INSIDE = st.floats(bounds.THRESHOLD.least, bounds.THRESHOLD.most, exclude_min=True, exclude_max=True)


@given(
    INSIDE.filter(lambda m: 0.021 < m < 0.979), st.sampled_from([bounds.ERROR.least, 0.05, bounds.ERROR.most])
)
def test_inside_the_bounds_every_threshold_can_be_certified_and_breached(m: float, error: float) -> None:
    assert certificate.certified(many(1.0, 10**7), m, error)
    assert detector.fresh().after(many(0.0, 10**7), m, 2).log_e >= log_limit(error)


@pytest.mark.parametrize("m", [bounds.THRESHOLD.most, 0.99, math.nextafter(1.0, 0.0)])
def test_at_the_most_and_over_it_nothing_certifies(m: float) -> None:
    assert m not in bounds.THRESHOLD
    assert not certificate.certified(many(1.0, 10**12), m, bounds.ERROR.most)


@pytest.mark.parametrize("m", [bounds.THRESHOLD.least, 0.01, 1e-15])
def test_at_the_least_and_under_it_nothing_breaches(m: float) -> None:
    assert m not in bounds.THRESHOLD
    assert detector.fresh().after(many(0.0, 10**12), m, 2).log_e < log_limit(bounds.ERROR.most)


@given(
    st.floats(bounds.ERROR.least, bounds.ERROR.most),
    st.integers(bounds.REPLICAS.least, bounds.REPLICAS.most),
    st.integers(1, 4),
    st.integers(1, 7 * MAX_SITES),
)
def test_every_part_of_an_error_is_a_chance_and_one_that_the_contract_takes(
    error: float, replicas: int, guardrails: int, tests: int
) -> None:
    engines = judged.engines_alpha(error, replicas)
    Breaker(alpha=engines, guardrails=("recall",))
    for alpha in (engines, judged.operators_alpha(error, engines_judge=True)):
        part = judged.tests_alpha(alpha, guardrails, tests)
        assert 0.0 < part < 1.0
        assert math.isfinite(log_limit(part))


@given(
    INSIDE,
    st.integers(bounds.SAMPLE_ROWS.least, bounds.SAMPLE_ROWS.most),
    st.integers(bounds.CONTEXT_TOKENS.least, bounds.CONTEXT_TOKENS.most),
    st.lists(st.integers(bounds.SITES.least, bounds.SITES.most), max_size=MAX_SITES),
    st.timedeltas(bounds.PERMIT.least, bounds.PERMIT.most),
)
def test_the_contract_takes_all_that_is_inside(
    m: float, rows: int, tokens: int, protected: list[int], permit: timedelta
) -> None:
    flags = Flags(
        mode=Mode.ON, pattern="FS", protected=tuple(protected), min_context_tokens=tokens, sample_rows=rows
    )
    thresholds = Thresholds(overlap=m, recall=m, recall_per_indexer=m)
    sent = Desired(
        incarnation="i", epoch=1, flags=flags, permit_seconds=permit.total_seconds(), thresholds=thresholds
    )
    assert Desired.model_validate_json(sent.model_dump_json()) == sent


@pytest.mark.parametrize(
    "wrong",
    [
        {"permit_seconds": (bounds.PERMIT.most + timedelta(milliseconds=1)).total_seconds()},
        {"permit_seconds": 0},
        {"permit_seconds": math.nan},
        {"flags": {"sample_rows": bounds.SAMPLE_ROWS.most + 1}},
        {"flags": {"min_context_tokens": bounds.CONTEXT_TOKENS.most + 1}},
        {"flags": {"protected": [bounds.SITES.most + 1]}},
        {"flags": {"protected": [0] * (MAX_SITES + 1)}},
        {"thresholds": {"recall": math.nan}},
        {"thresholds": {"overlap": math.inf}},
    ],
)
def test_the_contract_takes_nothing_beyond(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Desired.model_validate({"incarnation": "i", "epoch": 1, **wrong})


@pytest.mark.parametrize(
    ("range_", "inside", "outside"),
    [
        (bounds.Numbers(0.1, 0.9), [0.1, 0.5, 0.9], [0.09, 0.91, math.nan, math.inf, -math.inf]),
        (bounds.Numbers(0.1, 0.9, open=True), [0.11, 0.5, 0.89], [0.1, 0.9, math.nan, math.inf]),
    ],
)
def test_a_range_of_numbers_and_its_field_agree(
    range_: bounds.Numbers, inside: list[float], outside: list[float]
) -> None:
    adapter: TypeAdapter[float] = TypeAdapter(Annotated[float, range_.field()])
    for value in inside:
        assert value in range_
        assert adapter.validate_python(value) == value
    for value in outside:
        assert value not in range_
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_a_range_of_whole_numbers_and_one_of_durations_hold_their_ends() -> None:
    adapter: TypeAdapter[int] = TypeAdapter(Annotated[int, bounds.PERCENT.field()])
    for value, holds in ((0, False), (1, True), (100, True), (101, False)):
        assert (value in bounds.PERCENT) is holds
        if holds:
            assert adapter.validate_python(value) == value
        else:
            with pytest.raises(ValidationError):
                adapter.validate_python(value)
    tick = timedelta(milliseconds=1)
    span = bounds.PERMIT
    assert [d in span for d in (span.least - tick, span.least, span.most, span.most + tick)] == [
        False,
        True,
        True,
        False,
    ]

"""Tests when the witness says that the engines' counters held the evidence."""

from indexcache_core.contract import Identity, Mode, Series, State, Work
from indexcache_core.evidence.detector import fresh, log_e
from indexcache_core.evidence.guardrails import STREAMS
from indexcache_core.evidence.verdict import breached
from indexcache_core.histogram import Histogram, bucket
from indexcache_testbed.scenario.evidence import first_breach
from indexcache_testbed.scenario.watch import Answers

MINIMUM, ALPHA = 0.9, 1e-3


def seen(count: int, value: float = 0.5) -> Histogram:
    counts = [0] * len(Histogram().counts)
    counts[bucket(value)] = count
    return Histogram(counts=tuple(counts), sum=value * count)


def look(
    at: float, count: int, *, revision: str = "r", mode: Mode = Mode.ON, value: float = 0.5, context: int = 2
) -> Answers:
    series = Series(
        site=1,
        context=context,
        work=Work.DECODE,
        mode=mode,
        overlap=seen(count, value),
        recall=seen(count, value),
    )
    return Answers(
        at,
        {
            "pod": State(
                supported=True, incarnation="i", identity=Identity(revision=revision), observed=(series,)
            )
        },
    )


def breach(looks: list[Answers], began: float = 100.0) -> float | None:
    return first_breach(looks, revision="r", began=began, minimum=MINIMUM, alpha=ALPHA)


def looks_of(**what: object) -> list[Answers]:
    return [look(100.0 + n, 4 * n, **what) for n in range(1, 30)]  # type: ignore[arg-type]


def test_the_moment_is_the_operators_own_test_fed_with_the_record() -> None:
    looks, streams, expected = looks_of(), {stream: fresh() for stream in STREAMS}, None
    for n, at in enumerate((found.at for found in looks), start=1):
        streams[Mode.ON] = streams[Mode.ON].after(seen(4), MINIMUM, n + 1)
        if breached(log_e(list(streams.values())), ALPHA):
            expected = at
            break
    assert expected is not None
    assert breach(looks) == expected


def test_both_streams_count_each_for_half() -> None:
    assert breach(looks_of(mode=Mode.SHADOW)) == breach(looks_of())


def test_a_revision_that_began_long_ago_needs_more_evidence() -> None:
    now = breach(looks_of())
    long_ago = breach(looks_of(), began=100.0 - 3600.0)
    assert now is not None
    assert long_ago is None or long_ago >= now


def test_what_speaks_of_another_revision_is_no_evidence() -> None:
    assert breach(looks_of(revision="another")) is None


def test_good_values_and_contexts_that_are_not_judged_are_no_evidence() -> None:
    assert breach(looks_of(value=0.99)) is None
    assert breach(looks_of(context=0)) is None


def test_counters_that_stand_still_add_nothing() -> None:
    assert breach([look(100.0 + n, 2) for n in range(1, 30)]) is None

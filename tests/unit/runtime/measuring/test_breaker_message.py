"""Tests what a breaker says of a breach: what, where, against what."""

from indexcache_core.histogram import of

from tests.unit.runtime.measuring.breaking import SITES, breaker, cell, feed, looks_until_tripped


def test_the_message_says_what_where_against_what() -> None:
    b = breaker(guardrails=("recall_per_indexer",))
    looks_until_tripped(b, lambda site: 0.1 if site == 3 else 0.9, looks=40)
    breach = b.breach()
    assert breach is not None
    said = b.message(breach, SITES)
    assert said.startswith(
        "recall of indexer 3 (layer 13) at contexts of 129-256 tokens in prefill is 0.100 in the mean over "
    )
    assert "at least 0.5 expected (guardrail recall_per_indexer)" in said
    overall = breaker(guardrails=("overlap",))
    looks_until_tripped(overall, lambda site: 0.1, looks=40)
    breach = overall.breach()
    assert breach is not None
    assert overall.message(breach, SITES).startswith(
        "overlap of the Shared indexers at contexts of 129-256 tokens in prefill is 0.100"
    )


def test_an_observation_of_no_count_is_shown_without_a_mean() -> None:
    b = breaker(guardrails=("overlap",))
    b.look([(cell(None), of([]), of([]))], 2)
    (standing,) = b.standing()
    assert (standing.mean, standing.observations) == (None, 0)
    assert b.message(standing, SITES) == (
        "overlap of the Shared indexers at contexts of 129-256 tokens in prefill is unknown in the mean over "
        f"0 observations, at least 0.5 expected (guardrail overlap); evidence e^{standing.log_e:.1f} against "
        f"the pattern, the limit is e^{standing.log_limit:.1f}"
    )


def test_without_sites_contexts_have_no_name() -> None:
    b = breaker(guardrails=("recall",))
    feed(b, 2, {1: [0.1]})
    (standing,) = b.standing()
    assert b.message(standing, ()).startswith("recall of the Shared indexers in prefill is 0.100 in the mean")
    (nothing,) = breaker(guardrails=("recall",)).standing()
    assert b.message(nothing, SITES).startswith("recall of the Shared indexers is unknown")

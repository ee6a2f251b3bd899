"""Tests that probes are drawn at random, by nothing but revision, number and the traffic's lengths."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from indexcache_operator.model import Probe
from indexcache_operator.plan.evidence import draws

K = 16


def probe(tokens: int, name: str = "p") -> Probe:
    return Probe(prompt=name, continuation="c", context_tokens=tokens)


SHORT, LONG, LONGER = probe(40, "short"), probe(100, "long"), probe(120, "longer")
SET = (SHORT, LONG, LONGER)
"""Of buckets 2, 3 and 3."""


def drawn(
    shares: dict[int, float], count: int = 3000, revision: str = "r", probes: object = SET
) -> Counter[str]:
    found = [draws.draw(probes, shares, K, revision, n) for n in range(count)]  # type: ignore[arg-type]
    return Counter(p.prompt for p in found if p is not None)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({2: 0.25, 3: 0.75}, {"short": 0.25, "long": 0.375, "longer": 0.375}),
        ({3: 1.0}, {"long": 0.5, "longer": 0.5}),
        ({2: 0.2, 3: 0.2, 7: 0.6}, {"short": 0.5, "long": 0.25, "longer": 0.25}),
        ({}, {"short": 0.5, "long": 0.25, "longer": 0.25}),
        ({1: 1.0}, {"short": 0.5, "long": 0.25, "longer": 0.25}),
    ],
    ids=str,
)
def test_as_often_as_the_traffic_is_as_long(shares: dict[int, float], expected: dict[str, float]) -> None:
    found = drawn(shares)
    assert {name: n / 3000 for name, n in found.items()} == pytest.approx(expected, abs=0.04)


def test_the_files_order_means_nothing() -> None:
    probes = [probe(tokens, f"p{i}") for i, tokens in enumerate(range(40, 120, 2))]
    shuffled = random.Random(1).sample(probes, len(probes))
    shares = {2: 0.3, 3: 0.7}
    for number in range(100):
        assert draws.draw(probes, shares, K, "r", number) == draws.draw(shuffled, shares, K, "r", number)


def test_with_replacement_and_the_same_again_after_a_restart() -> None:
    sequence = [draws.draw(SET, {3: 1.0}, K, "r", n) for n in range(20)]
    assert sequence == [draws.draw(SET, {3: 1.0}, K, "r", n) for n in range(20)]
    assert any(a == b for a, b in pairwise(sequence))
    assert sequence != [draws.draw(SET, {3: 1.0}, K, "other", n) for n in range(20)]


def test_a_probe_that_the_file_has_twice_weighs_twice() -> None:
    found = drawn({3: 1.0}, probes=(LONG, LONG, LONGER))
    assert found["long"] / 3000 == pytest.approx(2 / 3, abs=0.04)


def test_without_probes_none_is_drawn() -> None:
    assert draws.draw((), {3: 1.0}, K, "r", 0) is None


def test_what_reuse_can_not_change_is_not_asked() -> None:
    assert draws.eligible([probe(16), probe(17), LONG], 16, 0) == [probe(17), LONG]
    assert draws.eligible([probe(17), LONG], 16, 100) == [LONG]


def test_each_question_has_its_own_chance() -> None:
    values = [draws.uniform("r", n, what) for n in range(200) for what in ("a", "b")]
    assert len(set(values)) == 400
    assert all(0.0 <= v < 1.0 for v in values)
    assert sum(values) / 400 == pytest.approx(0.5, abs=0.05)


def test_another_revision_draws_other_lengths() -> None:
    one, other = (
        [draws.draw((SHORT, LONG), {2: 0.5, 3: 0.5}, K, revision, n) for n in range(20)]
        for revision in ("r", "other")
    )
    assert one != other


def test_probes_of_one_length_have_an_order_of_their_own() -> None:
    alike = [probe(40, f"p{i}") for i in range(20)]
    for number in range(20):
        backwards = draws.draw(alike[::-1], {2: 1.0}, K, "r", number)
        assert draws.draw(alike, {2: 1.0}, K, "r", number) == backwards


def test_the_next_release_goes_on_with_the_draws_of_the_one_before() -> None:
    names = {SHORT: "s", LONG: "l", LONGER: "L"}
    found = [draws.draw(SET, {2: 0.5, 3: 0.5}, K, "0123456789", n) for n in range(30)]
    assert "".join(names[p] for p in found if p is not None) == "slsslllssssslsLsssslLslsllslss"

"""Tests what makes one observation of a request's rows, and when."""

import math

import pytest
from indexcache_core.contract import DECODED_TOKENS, Mode
from indexcache_runtime.engine import Measured

from tests.unit.runtime.measuring.bookings_world import DECODE, Engine, K, both


def test_a_request_of_many_steps_is_one_observation_the_mean_over_its_rows() -> None:
    e = Engine()
    assert e.step(("a", 130), recall=0.0) == []
    assert e.step(("a", 150), ("a", 160), recall=0.75) == []
    assert e.step(("a", 200), recall=0.5) == []
    assert e.prefilled("a") == both(2, recall=(0.0 + 0.75 + 0.75 + 0.5) / 4)


def test_requests_of_one_step_are_an_observation_each() -> None:
    e = Engine()
    e.add((("a", 130), ("a", 140), ("b", 130)), Measured({1: [0.0, 0.5, 1.0]}, {1: [0.25, 0.75, 0.0]}))
    assert e.prefilled("a", "b") == both(2, 0.5, 0.25) + both(2, 0.0, 1.0)


def test_what_leaves_a_bucket_is_booked_by_that_and_only_then() -> None:
    e = Engine()
    e.step(("a", 4 * K - 1), recall=0.25)
    assert e.step(("b", 4 * K)) == []
    assert e.step(("a", 4 * K)) == both(2, recall=0.25)
    assert e.ended("a") == both(3)


def test_rows_of_one_step_may_lie_in_several_buckets() -> None:
    e = Engine()
    assert e.step(("a", K), ("a", 2 * K), ("a", 4 * K)) == both(1) + both(2)


def test_prompts_are_booked_once_they_are_computed_and_what_is_generated_goes_on() -> None:
    e = Engine()
    e.step(("a", 130), recall=0.25)
    e.step(("a", 140), recall=0.75, work=DECODE)
    assert e.prefilled("a") == both(2, recall=0.25)
    assert e.prefilled("a") == []
    assert e.ended("a") == both(2, recall=0.75, work=DECODE)


def test_a_request_that_ends_books_what_is_left_of_both_kinds_of_work() -> None:
    e = Engine()
    e.step(("a", 130))
    e.step(("a", 140), work=DECODE)
    assert e.ended("a") == both(2) + both(2, work=DECODE)
    assert e.ended("a") == []


def test_what_is_generated_is_booked_after_so_many_tokens_and_not_before_an_end() -> None:
    """They are counted from the first that was measured, whether all were or few."""
    e = Engine()
    e.step(("a", 300), recall=0.0, work=DECODE)
    assert e.step(("a", 300 + DECODED_TOKENS - 1), recall=1.0, work=DECODE) == []
    assert e.step(("a", 300 + DECODED_TOKENS), recall=1.0, work=DECODE) == both(3, recall=0.5, work=DECODE)
    assert e.step(("a", 300 + 2 * DECODED_TOKENS), work=DECODE) == []
    assert e.ended("a") == []


def test_a_prompt_is_not_booked_by_its_length() -> None:
    e = Engine()
    for position in range(300, 300 + 3 * DECODED_TOKENS, 8):
        assert e.step(("a", position)) == []
    assert e.prefilled("a") == both(3)


def test_a_long_answer_is_an_observation_in_each_bucket_that_it_comes_through() -> None:
    e = Engine()
    for position in range(4 * K, 17 * K):
        e.step(("a", position), work=DECODE)
    e.ended("a")
    assert e.booked == both(3, work=DECODE) + both(4, work=DECODE) + both(5, work=DECODE)


def test_rows_that_come_after_the_booking_count_nothing() -> None:
    e = Engine()
    e.step(("a", 130))
    e.prefilled("a")
    assert e.step(("a", 140), recall=0.0) == []
    assert e.bookings.prefilling == set()
    assert e.prefilled("a") == e.ended("a") == []


def test_rows_computed_again_after_a_preemption_count_nothing() -> None:
    e = Engine()
    e.step(("a", 130), ("a", 250), ("a", 260), recall=1.0)  # the first of two chunks
    e.step(("a", 70), ("a", 130), ("a", 255), ("a", 257), recall=0.0)  # and once more, other rows of it
    e.step(("a", 270), recall=0.5)
    e.prefilled("a")
    e.step(("a", 280), recall=0.25, work=DECODE)
    e.step(("a", 130), ("a", 260), recall=0.0)
    e.prefilled("a")
    e.step(("a", 280), recall=0.0, work=DECODE)
    e.step(("a", 281), recall=0.75, work=DECODE)
    e.ended("a")
    assert e.booked == both(2, recall=1.0) + both(3, recall=0.75) + both(3, recall=0.5, work=DECODE)


def test_rows_computed_again_change_nothing_of_those_beside_them() -> None:
    e = Engine()
    e.step(("a", 130))
    e.step(("a", 130), ("b", 140))
    assert e.prefilled("b") == both(2)


def test_modes_are_kept_apart() -> None:
    e = Engine()
    e.step(("a", 130), recall=0.25, mode=Mode.SHADOW)
    assert e.step(("a", 140), recall=0.75) == both(2, recall=0.25, mode=Mode.SHADOW)
    e.step(("a", 150), recall=0.0, mode=Mode.SHADOW)
    e.ended("a")
    assert e.booked == both(2, recall=0.25, mode=Mode.SHADOW) + both(2, recall=0.75)


def test_what_was_computed_in_shadow_counts_again_where_reuse_computes_it_again() -> None:
    e = Engine()
    e.step(("a", 200), recall=0.25, mode=Mode.SHADOW)
    e.step(("a", 150), recall=0.75)
    e.ended("a")
    assert e.booked == both(2, recall=0.25, mode=Mode.SHADOW) + both(2, recall=0.75)


def test_the_mean_over_sites_is_that_of_their_means_however_often_each_was_measured() -> None:
    e = Engine()
    e.add((("a", 130),), Measured({1: [0.0], 3: [1.0]}, {1: [0.25], 3: [0.5]}))
    e.add((("a", 140), ("a", 150)), Measured({1: [0.5, 1.0]}, {1: [1.0, 1.0]}))
    e.add((("a", 160),), Measured({2: [0.75]}, {2: [0.0]}))
    found = {o.cell.site: (o.overlap, o.recall) for o in e.ended("a")}
    assert found == {1: (0.5, 0.75), 3: (1.0, 0.5), 2: (0.75, 0.0), None: (0.75, (0.75 + 0.5 + 0.0) / 3)}


def test_what_is_no_number_is_nothing_and_what_is_outside_is_clipped() -> None:
    e = Engine()
    e.add((("a", 130), ("a", 131)), Measured({1: [math.nan, 0.5]}, {1: [1.5, -0.5]}))
    e.add((("b", 130),), Measured({1: [math.inf]}, {1: [math.nan]}))
    assert e.ended("a", "b") == both(2, 0.5, 0.25) + both(2, 0.0, 1.0)


def test_a_request_that_ends_unmeasured_books_nothing() -> None:
    e = Engine()
    e.step(("a", 130))
    assert e.ended("b") == e.prefilled("b") == []
    assert e.ended("a") != []


def test_a_step_that_could_not_be_measured_is_none() -> None:
    e = Engine()
    assert e.add((("a", 130),), Measured()) == []
    assert e.bookings.prefilling == set()
    assert e.prefilled("a") == []
    e.step(("a", 140))
    assert e.prefilled("a") == both(2)


def test_prefilling_holds_exactly_what_waits() -> None:
    e = Engine()
    e.step(("a", 130), ("b", 130), ("c", 130))
    e.step(("d", 130), work=DECODE)
    assert e.bookings.prefilling == {"a", "b", "c"}
    e.prefilled("a", "d")
    assert e.bookings.prefilling == {"b", "c"}
    e.ended("b", "d")
    assert e.bookings.prefilling == {"c"}
    e.bookings.clear()
    assert e.bookings.prefilling == set()
    assert e.ended("c") == []


def test_a_prompt_whose_rows_are_booked_and_count_no_more_waits_for_nothing() -> None:
    e = Engine()
    for mode in (Mode.SHADOW, Mode.ON, Mode.SHADOW):
        e.step(("a", 130), mode=mode)
    assert e.booked == both(2, mode=Mode.SHADOW) + both(2)
    assert e.bookings.prefilling == set()


def test_a_name_that_is_used_again_is_another_request() -> None:
    e = Engine()
    for _ in range(2):
        e.step(("a", 130))
        assert e.prefilled("a") == both(2)
        e.step(("a", 140), work=DECODE)
        assert e.ended("a") == both(2, work=DECODE)
    assert e.bookings._requests == {}


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_how_many_rows_are_sampled_of_a_request_changes_nothing_of_how_often_it_counts(rows: int) -> None:
    e = Engine()
    for i in range(rows):
        e.step(("a", 65 * K + i * 60 * K // rows))
    e.prefilled("a")
    assert e.booked == both(7)

"""Tests how looks at rollouts at rest are spread, and that what is asked for waits for nobody."""

import asyncio
from datetime import timedelta

import pytest
from indexcache_operator.spreading import LOOKS_A_SECOND, Crowd, Ticket, wait


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.mark.parametrize(
    ("next_look", "latest", "at_rest", "expected"),
    [
        (1, 30, 1, 1),  # few wait as long as the plan says
        (1, 30, LOOKS_A_SECOND, 1),
        (1, 30, 10 * LOOKS_A_SECOND, 10),  # many share what looks there are
        (1, 40, 1000, 1000 / LOOKS_A_SECOND),
        (1, 30, 100_000, 30),  # but for no longer than permits and alerts let them
        (5, 30, 10, 5),
        (1, 0.7, 100_000, 1),  # one that can't wait doesn't, and none is looked at sooner than planned
        (0.25, 0.25, 100_000, 0.25),
        (0.25, 0, 100_000, 0.25),
    ],
)
def test_a_look_waits_for_its_share(next_look: float, latest: float, at_rest: int, expected: float) -> None:
    assert wait(seconds(next_look), seconds(latest), at_rest) == seconds(expected)


def test_the_number_at_rest_is_of_rollouts() -> None:
    crowd = Crowd()
    for uid, rests in [("a", True), ("b", True), ("a", True), ("b", False), ("c", False)]:
        crowd.rests(uid, rests=rests)
    assert crowd.at_rest == 1


class Turns:
    """Holds turns that last until they are let go."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd, self.under_way, self.most = crowd, list[str](), 0
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, name: str, ticket: Ticket) -> None:
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._turn(name, ticket))

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await settled()

    async def _turn(self, name: str, ticket: Ticket) -> None:
        async with self.crowd.turn(ticket):
            self.under_way.append(name)
            await self.ends[name].wait()
        self.under_way.remove(name)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_are_under_way_at_once_in_the_order_in_which_they_came() -> None:
    turns = Turns(Crowd(2))
    for name in "abcd":
        turns.begin(name, Ticket())
        await settled()
    assert turns.under_way == ["a", "b"]
    await turns.end("a")
    assert turns.under_way == ["b", "c"]
    await turns.end("c")
    assert turns.under_way == ["b", "d"]
    await turns.end("b")
    await turns.end("d")
    turns.begin("e", Ticket())
    await settled()
    assert turns.under_way == ["e"]
    await turns.end("e")


async def test_one_that_is_hurried_waits_for_nobody_and_takes_nobodys_place() -> None:
    turns, before, while_waiting = Turns(Crowd(1)), Ticket(), Ticket()
    turns.begin("a", Ticket())
    await settled()
    before.hurry()
    turns.begin("b", before)
    turns.begin("c", while_waiting)
    turns.begin("d", Ticket())
    await settled()
    assert turns.under_way == ["a", "b"]
    while_waiting.hurry()
    await settled()
    assert turns.under_way == ["a", "b", "c"]
    await turns.end("b")
    await turns.end("c")
    assert turns.under_way == ["a"]
    await turns.end("a")
    assert turns.under_way == ["d"]
    await turns.end("d")


async def test_a_hurry_is_for_one_turn_and_for_the_next_if_it_comes_in_a_turn() -> None:
    turns, ticket = Turns(Crowd(1)), Ticket()
    turns.begin("a", Ticket())
    ticket.hurry()
    turns.begin("b", ticket)
    await settled()
    ticket.hurry()
    await turns.end("b")
    turns.begin("c", ticket)
    await settled()
    assert turns.under_way == ["a", "c"]
    await turns.end("c")
    turns.begin("d", ticket)
    await settled()
    assert turns.under_way == ["a"]
    await turns.end("a")
    await turns.end("d")


@pytest.mark.parametrize("just_given", [False, True])
async def test_one_that_ends_while_it_waits_leaves_the_place_to_the_next(just_given: bool) -> None:
    turns = Turns(Crowd(1))
    async with turns.crowd.turn(Ticket()):
        for name in "bc":
            turns.begin(name, Ticket())
            await settled()
        if not just_given:
            turns.tasks["b"].cancel()
            await settled()
    turns.tasks["b"].cancel()
    await settled()
    assert turns.under_way == ["c"]
    await turns.end("c")


async def test_a_turn_that_fails_gives_its_place_back() -> None:
    crowd = Crowd(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="failed"):
            async with asyncio.timeout(5), crowd.turn(Ticket()):
                raise ValueError("failed")

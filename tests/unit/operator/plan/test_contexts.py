"""The traffic's contexts: from the try's beginning on, and following a drift."""

from dataclasses import dataclass, replace

from indexcache_core.contract import Requests, State
from indexcache_operator.plan import contexts
from indexcache_operator.plan.memory import Memory


@dataclass
class Pod:
    name: str
    state: State | None


@dataclass
class Seen:
    pods: tuple[Pod, ...]


@dataclass
class Look:
    o: Seen


def look(*counts: int, incarnation: str = "one") -> Look:
    """One engine with that many requests in the first buckets of context length."""
    padded = (*counts, *(0,) * (contexts.BUCKETS - len(counts)))
    state = State(supported=True, incarnation=incarnation, requests=Requests(contexts=padded))
    return Look(Seen((Pod("a", state),)))


def follow(*looks: Look) -> Memory:
    memory = Memory(key="try")
    for each in looks:
        memory = contexts.observe(each, memory)  # type: ignore[arg-type] # what is read of a look is all there
    return memory


def test_requests_from_before_the_try_say_nothing_of_it() -> None:
    assert contexts.shares(follow(look(0, 0, 900), look(0, 0, 900, 30)), range(9)) == {3: 1.0}


def test_nothing_is_known_before_a_request_came() -> None:
    assert contexts.shares(follow(look(0, 0, 900)), range(9)) == {}


def test_an_engine_that_restarted_counts_from_zero_again() -> None:
    memory = follow(look(0, 5), look(0, 9), look(0, 3, incarnation="two"))
    assert sum(memory.contexts) > 6.9


def test_a_drift_outweighs_the_past_after_some_hundred_requests() -> None:
    steady = follow(look(), look(0, 0, 1000))
    drifted = contexts.observe(look(0, 0, 1000, 400), steady)  # type: ignore[arg-type]
    assert contexts.shares(drifted, range(9))[3] > 0.6
    assert contexts.shares(replace(drifted, contexts=steady.contexts), range(9)) == {2: 1.0}

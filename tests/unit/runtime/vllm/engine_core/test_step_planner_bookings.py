"""Tests when the control is told that prompts are computed and requests ended: in the order in which steps
end, however many are in flight.
"""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contract import Mode, Work
from indexcache_core.probe_ids import probe_request_id
from indexcache_runtime.engine import Measured, StepPlan
from indexcache_runtime.measuring.budget import MeasuringBudget
from indexcache_runtime.vllm.carried import MEASURED, PLAN
from indexcache_runtime.vllm.engine_core.step_planner import PREFILLED

from tests.unit.runtime.vllm.engine_core.step_world import ONE, Core

PROMPT = {"num_prompt_tokens": 60}
BUCKET = 2
"""Of contexts of 33 to 64 tokens."""


class Engine(Core):
    """An engine core in small, every step of which is measured unless it is told not to be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, mode: Mode = Mode.SHADOW) -> None:
        super().__init__(mode, sample_rows=64)
        self.measuring = True
        self.told: list[Any] = []
        monkeypatch.setattr(MeasuringBudget, "allows", lambda *args, **kwargs: self.measuring)
        for name in ("measured", "prompts_computed", "requests_ended"):
            monkeypatch.setattr(self.control, name, self._telling(name, getattr(self.control, name)))

    def _telling(self, name: str, tell: Any) -> Any:
        def listen(*args: Any) -> None:
            self.told.append(name if name == "measured" else (name, *sorted(args[0])))
            tell(*args)

        return listen

    def schedule_to(self, end: int, n: int = 20, name: str = "r", **more: Any) -> Any:
        """Schedule a step that computes a request's tokens up to a position."""
        if name in self.requests:
            self.requests[name].num_computed_tokens = end
            return self.step({name: n}, **more)
        return self.step({name: n}, new={name: {**PROMPT, "num_computed_tokens": end}}, **more)

    def ends(self, output: Any, recall: float = 0.5) -> None:
        """Let a step end that measured this in each of its rows, if it was to measure any."""
        plan: StepPlan | None = getattr(output, PLAN, None)
        values = {1: [recall] * len(plan.rows)} if plan is not None and plan.rows else None
        found = {} if values is None else {MEASURED: Measured(values, values)}
        self.steps.update(output, SimpleNamespace(**found))

    @property
    def counted(self) -> dict[tuple[int, Work], tuple[int, float]]:
        """Return how many observations of site 1 there are and their sum, by bucket and kind of work."""
        return {
            (s.context, s.work): (s.recall.count, s.recall.sum)
            for s in self.control.state().observed
            if s.site == 1
        }


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(monkeypatch)


def test_a_prompt_is_booked_with_its_last_step_whose_own_rows_are_in_it(core: Engine) -> None:
    first = core.schedule_to(50, 10)
    core.ends(first, 0.25)
    assert not hasattr(first, PREFILLED)
    assert core.counted == {}
    last = core.schedule_to(60, 10)
    assert getattr(last, PREFILLED) == ("r",)
    core.told.clear()
    core.ends(last, 0.75)
    assert core.told == ["measured", ("prompts_computed", "r")]
    assert core.counted == {(BUCKET, Work.PREFILL): (1, 0.5)}


def test_what_is_generated_waits_for_the_end_of_the_request(core: Engine) -> None:
    core.ends(core.schedule_to(60), 0.25)
    for end in (61, 62):
        output = core.schedule_to(end, 1)
        assert not hasattr(output, PREFILLED)
        core.ends(output, 0.75)
    assert (BUCKET, Work.DECODE) not in core.counted
    core.ends(core.step({}, finished=["r"]))
    assert core.counted[BUCKET, Work.DECODE] == (1, 0.75)


def test_a_prompt_whose_last_step_was_not_measured_is_booked_too(core: Engine) -> None:
    core.ends(core.schedule_to(50, 10), 0.25)
    core.measuring = False
    last = core.schedule_to(60, 10)
    assert not hasattr(last, PLAN)
    assert getattr(last, PREFILLED) == ("r",)
    core.ends(last)
    assert core.counted == {(BUCKET, Work.PREFILL): (1, 0.25)}


def test_a_prompt_is_booked_at_the_baseline_too(core: Engine) -> None:
    core.ends(core.schedule_to(50, 10), 0.25)
    core.put(Mode.OFF)
    core.ends(core.schedule_to(60, 10))
    assert core.counted == {(BUCKET, Work.PREFILL): (1, 0.25)}


def test_a_prompt_that_was_computed_before_it_was_known_to_be_measured_is_booked_with_a_later_step(
    core: Engine,
) -> None:
    first = core.schedule_to(50, 10)
    core.measuring = False
    second = core.schedule_to(60, 10)  # while the first is in flight
    assert not hasattr(second, PREFILLED)
    core.ends(first, 0.25)
    third = core.schedule_to(61, 1)
    core.ends(second)
    assert core.counted == {}
    assert getattr(third, PREFILLED) == ("r",)
    core.ends(third)
    assert core.counted == {(BUCKET, Work.PREFILL): (1, 0.25)}


def test_of_steps_in_flight_each_prompt_is_booked_when_all_its_rows_are_there(core: Engine) -> None:
    outputs = [core.schedule_to(50, 10), core.schedule_to(60, 10), core.schedule_to(61, 1)]
    for output, recall in zip(outputs, (0.0, 0.5, 1.0), strict=True):
        core.ends(output, recall)
    assert core.counted == {(BUCKET, Work.PREFILL): (1, 0.25)}
    assert core.control.prefilling == set()


def test_a_preempted_prompt_is_not_computed_until_it_is_once_more(core: Engine) -> None:
    core.ends(core.schedule_to(50, 10), 0.25)
    again = core.schedule_to(45, 45)
    assert not hasattr(again, PREFILLED)
    core.ends(again, 1.0)
    last = core.schedule_to(60, 15)
    core.ends(last, 0.25)
    assert core.counted == {(BUCKET, Work.PREFILL): (1, 0.25)}  # nothing of what was computed again


def test_the_end_of_a_request_is_told_before_what_the_step_that_tells_it_measured(core: Engine) -> None:
    """vLLM tells of the end of a request in the step that another of its name may be new in."""
    core.ends(core.schedule_to(60), 0.25)
    core.ends(core.schedule_to(61, 1), 0.25)
    core.requests.clear()
    next_one = core.schedule_to(60, finished=["r"])
    core.told.clear()
    core.ends(next_one, 0.75)
    assert core.told == [("requests_ended", "r"), "measured", ("prompts_computed", "r")]
    assert core.counted[BUCKET, Work.PREFILL] == (2, 1.0)
    assert core.counted[BUCKET, Work.DECODE] == (1, 0.25)
    core.ends(core.schedule_to(61, 1), 0.75)
    core.ends(core.step({}, finished=["r"]))
    assert core.counted[BUCKET, Work.DECODE] == (2, 1.0)


def test_rows_of_steps_that_were_scheduled_before_the_end_was_known_are_booked_with_it(core: Engine) -> None:
    core.ends(core.schedule_to(60))
    ahead = [core.schedule_to(61, 1), core.schedule_to(62, 1)]
    core.ends(ahead[0], 0.0)  # and only now vLLM knows that this was the last token
    told = core.step({}, finished=["r"])
    core.ends(ahead[1], 0.5)
    assert (BUCKET, Work.DECODE) not in core.counted
    core.ends(told)
    assert core.counted[BUCKET, Work.DECODE] == (1, 0.25)
    core.ends(core.step({}))
    assert core.counted[BUCKET, Work.DECODE] == (1, 0.25)


def test_an_end_is_told_by_a_step_of_others_and_by_one_of_nobody(core: Engine) -> None:
    core.ends(core.step({"r": 20, "s": 20}, new={"r": PROMPT | {"num_computed_tokens": 50}, "s": {}}))
    core.told.clear()
    core.ends(core.step({"s": 1}, finished=["r"]))
    core.ends(core.step({}, finished=["s"]))
    assert [told for told in core.told if told[0] == "requests_ended"] == [
        ("requests_ended", "r"),
        ("requests_ended", "s"),
    ]
    core.told.clear()
    core.ends(core.step({}))
    assert core.told == []


def test_no_probe_and_nothing_unmeasured_is_told_to_be_computed(core: Engine) -> None:
    probe = probe_request_id("token", "n")
    output = core.step({probe: 20, "r": 20}, new={probe: {}, "r": {}})
    assert getattr(output, PREFILLED) == ("r",)
    baseline = Core(Mode.OFF)
    assert not hasattr(baseline.step(new=ONE), PREFILLED)


def test_a_step_in_which_something_failed_says_nothing(core: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(names: Iterable[str]) -> None:
        raise ValueError("on purpose")

    core.steps._core = SimpleNamespace(request_block_hasher=None)
    output = core.schedule_to(60)
    monkeypatch.setattr(core.control, "prompts_computed", broken)
    core.ends(output)
    assert core.control.gave_up
    assert not hasattr(core.schedule_to(61, 1), PREFILLED)

"""Tests that a step that something fails in runs all Full and is told of, and that vLLM is left alone."""

from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_runtime.vllm.carried import FAILED, PLAN
from indexcache_runtime.vllm.engine_core.hasher import Hasher
from indexcache_runtime.vllm.engine_core.step_planner import CHOOSING, PREFILLED, WANTED

from tests.unit.runtime.vllm.engine_core.step_world import ONE, Core

FLAGS: dict[str, Any] = {"mode": Mode.SHADOW, "sample_rows": 64}
SCHEDULERS, MANAGERS = (
    ("schedule", "update_from_output"),
    ("get_computed_blocks", "record_prefix_cache_stats"),
)


def hasher(request: Any) -> list[bytes]:
    return []


def failing(*args: Any, **kwargs: Any) -> Any:
    raise ValueError("broken")


class Installed(Core):
    """An engine core that its planner is installed in, and what the control is told of failures."""

    def __init__(self, **flags: Any) -> None:
        super().__init__(**{**FLAGS, **flags})
        self.told: list[tuple[str, str]] = []
        give_up = self.control.fail

        def fail(doing: str, error: BaseException | str) -> None:
            self.told.append((doing, str(error)))
            give_up(doing, error)

        self.control.fail = fail  # type: ignore[method-assign]
        self.kv_cache_manager.get_computed_blocks = None
        self.engine = SimpleNamespace(request_block_hasher=hasher)
        self.named: list[Any] = []
        self.steps._blocks.hasher = self._hasher  # type: ignore[assignment,method-assign]
        self.steps.install(self.engine)

    def _hasher(self, original: Any) -> Hasher:
        self.named.append(original)
        return Hasher(original)

    @property
    def is_vllms_own(self) -> bool:
        """Return whether all is as vLLM made it."""
        ours = [name in vars(self) for name in SCHEDULERS]
        ours += [name in vars(self.kv_cache_manager) for name in MANAGERS]
        return not any(ours) and self.engine.request_block_hasher is hasher

    @property
    def is_ours(self) -> bool:
        """Return whether ours stand where they must."""
        installed = [name in vars(self) for name in SCHEDULERS]
        installed += [name in vars(self.kv_cache_manager) for name in MANAGERS]
        return all(installed) and isinstance(self.engine.request_block_hasher, Hasher)


def carried(output: Any) -> set[str]:
    return {PLAN, WANTED, CHOOSING, PREFILLED} & set(vars(output))


def test_new_requests_are_named_by_a_hasher_that_stands_in_for_vllms() -> None:
    core = Installed()
    assert core.is_ours
    assert core.named == [hasher]
    assert core.engine.request_block_hasher.original is hasher


def test_a_step_that_nothing_fails_in_carries_what_it_does() -> None:
    core = Installed()
    assert carried(core.step(new=ONE)) == {PLAN, WANTED, CHOOSING, PREFILLED}
    assert (core.told, core.is_ours) == ([], True)


@pytest.mark.parametrize(
    ("breaks", "doing"),
    [
        (lambda core: setattr(core.control, "behaviour", failing), "beginning a step"),
        (lambda core: setattr(core.control, "started", failing), "scheduling a step"),
    ],
    ids=["beginning", "scheduling"],
)
def test_a_step_that_something_fails_in_runs_all_full_and_is_the_last_of_ours(
    breaks: Any, doing: str
) -> None:
    core = Installed()
    breaks(core)
    assert carried(core.step(new=ONE)) == set()
    assert core.told == [(doing, "broken")]
    assert core.is_vllms_own
    assert core.control.gave_up
    assert carried(core.step({"r": 1})) == set()
    assert core.told == [(doing, "broken")]


def test_a_control_that_gave_up_ends_it_with_the_next_step() -> None:
    core = Installed()
    core.control.fail("asking a peer", "gone")
    begun = len(core.tainted)
    assert carried(core.step(new=ONE)) == set()
    assert len(core.tainted) == begun
    assert core.is_vllms_own


def test_what_failed_in_a_worker_is_told_and_vllm_counts_its_step() -> None:
    core = Installed()
    output = core.step(new=ONE)
    result = SimpleNamespace(**{FAILED: "out of memory"})
    assert core.steps.update(output, result) == "updated"
    assert core.updated == [(output, result)]
    assert core.told == [("running a step", "out of memory")]
    core.steps.update(output, result)
    assert core.told == [("running a step", "out of memory")]
    assert carried(core.step({"r": 1})) == set()
    assert core.is_vllms_own


def test_what_fails_in_counting_is_told_by_what_it_was() -> None:
    core = Installed()
    output = core.step(new=ONE)
    core.control.ended = failing  # type: ignore[method-assign]
    assert core.steps.update(output, SimpleNamespace()) == "updated"
    assert core.told == [("counting a step", "broken")]
    cached = Installed()
    cached.steps._blocks.reused_tokens = failing  # type: ignore[method-assign]
    cached.steps.record_hits("r", 4)
    assert cached.hits == [("r", 4)]
    assert cached.told == [("counting what was cached", "broken")]


def test_an_engine_core_that_names_no_blocks_goes_on_without() -> None:
    core = Installed()
    core.engine.request_block_hasher = None
    core.control.fail("anything", "broken")
    core.step(new=ONE)
    assert core.engine.request_block_hasher is None

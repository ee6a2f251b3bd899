"""Both sides of a pair of probes on a live engine: each is computed as it says, in shadow and under reuse,
and users' tokens and blocks are what they would be without it.

Mutants: a build that lets users into a step of probes apart, and one that names their blocks as the
baseline's.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from indexcache_core.contract import Mode, Reason
from indexcache_core.probe_ids import Side, probe_request_id, sided
from indexcache_runtime.control.ledger import Ledger
from indexcache_runtime.control.probe_log import ProbeLog
from indexcache_runtime.vllm.engine_core import probe_requests
from indexcache_runtime.vllm.engine_core.probe_requests import ProbeRequests

from tests.conformance.engine import TOKEN, Answer, Engine, prompts
from tests.engine.cpu_binding import at_each_block_size

pytestmark = [pytest.mark.engine, at_each_block_size]

PATTERN = "FSSS"
TOKENS = 8
PROMPT, OTHER = prompts(31, 400, 500)


def probe(engine: Engine, side: Side, nonce: str, prompt: list[int] = PROMPT) -> str:
    return engine.start(prompt, TOKENS, f"cmpl-{probe_request_id(TOKEN, nonce, side)}-0-{engine._names}")


def told(engine: Engine, side: Side, nonce: str) -> tuple[int, int]:
    runs: dict[str, Any] = {run.name: run for run in engine.state.probe_runs or ()}
    run = runs[sided(nonce, side)]
    return run.rows, run.reused


def alike(a: Answer, b: Answer) -> bool:
    """Return whether two answers are the same but for rounding."""
    near = all(abs(x - y) < 1e-3 for x, y in zip(a.logprobs, b.logprobs, strict=True))
    return a.tokens == b.tokens and near


@pytest.fixture
def clean(engine: Engine) -> Answer:
    """Return what the engine answers at the baseline."""
    (answer,) = engine.ask([PROMPT], TOKENS)
    engine.forget()
    return answer


@pytest.fixture
def under_reuse(engine: Engine, clean: Answer) -> Answer:
    """Return what users are answered under reuse."""
    engine.put(Mode.ON, PATTERN)
    (answer,) = engine.ask([PROMPT], TOKENS)
    engine.forget()
    engine.kill()
    assert not alike(answer, clean)
    return answer


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ON])
def test_each_side_is_computed_as_it_says(
    engine: Engine, clean: Answer, under_reuse: Answer, mode: Mode
) -> None:
    engine.put(mode, PATTERN)
    nonce = f"each{mode}"
    for side, expected in ((Side.FULL, clean), (Side.REUSE, under_reuse)):
        (found,) = engine.finish([probe(engine, side, nonce)])
        assert alike(found, expected)
        assert found.cached == 0
        engine.forget()  # the operator salts each side instead
    rows = len(PROMPT) - engine.k + TOKENS - 1
    assert told(engine, Side.FULL, nonce) == (rows, 0)
    assert told(engine, Side.REUSE, nonce) == (rows, rows)


def test_in_shadow_users_read_nothing_of_a_probe_and_it_reads_its_own(engine: Engine, clean: Answer) -> None:
    engine.put(Mode.SHADOW, PATTERN)
    engine.finish([probe(engine, Side.REUSE, "b")])
    before = engine.state.requests
    (user,) = engine.ask([PROMPT], TOKENS)
    assert alike(user, clean)
    assert user.cached == 0
    engine.step()
    after = engine.state.requests
    assert (after.touched_by_reuse, after.admitted_reuse) == (before.touched_by_reuse, before.admitted_reuse)
    engine.forget()
    engine.finish([probe(engine, Side.REUSE, "c")])
    (again,) = engine.finish([probe(engine, Side.REUSE, "c")])
    assert again.cached >= engine.cacheable(PROMPT)


def beside_a_user(engine: Engine) -> Answer:
    """Return what a user is answered in shadow beside a probe, and what it leaves in the cache."""
    engine.put(Mode.SHADOW, PATTERN)
    name = probe(engine, Side.REUSE, "d", OTHER)
    engine.step()
    (user, _) = engine.finish([engine.start(PROMPT, TOKENS), name])
    return user


def test_in_shadow_a_user_beside_a_probe_is_served_all_full_and_the_probe_is_told_apart(
    engine: Engine, clean: Answer
) -> None:
    assert alike(beside_a_user(engine), clean)
    rows, reused = told(engine, Side.REUSE, "d")
    assert reused < rows
    (again,) = engine.ask([PROMPT], TOKENS)
    assert alike(again, clean)


def test_a_kill_ends_a_probe_in_shadow_too(engine: Engine) -> None:
    engine.put(Mode.SHADOW, PATTERN)
    name = probe(engine, Side.REUSE, "e")
    engine.step()
    engine.kill()
    engine.finish([name])
    rows, reused = told(engine, Side.REUSE, "e")
    assert 0 < reused < rows


def test_a_build_that_lets_users_into_such_a_step_fails(
    engine: Engine, clean: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "all_probes", Ledger.any_probe)
    monkeypatch.setattr(ProbeRequests, "reusing", lambda probes, request: True)
    assert not alike(beside_a_user(engine), clean)


def test_a_build_that_names_a_probes_blocks_as_the_baselines_fails(
    engine: Engine, clean: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        engine.core.scheduler.kv_cache_manager.get_computed_blocks.__self__, "_apart", lambda request: False
    )
    engine.put(Mode.SHADOW, PATTERN)
    engine.finish([probe(engine, Side.REUSE, "f")])
    (user,) = engine.ask([PROMPT], TOKENS)
    assert user.cached > 0


HOOKS = (
    (ProbeRequests, "apart"),
    (ProbeRequests, "count"),
    (ProbeLog, "add"),
    (probe_requests, "probe_name"),
)


@pytest.fixture
def anew(engine: Engine) -> Iterator[None]:
    """Take charge of the engine anew afterwards, as after a restart."""
    from tests.engine.test_internal_errors import take_charge_anew

    yield
    take_charge_anew(engine)
    engine.reset()


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize(("owner", "name"), HOOKS, ids=str)
def test_a_hook_that_raises_costs_no_request(engine: Engine, clean: Answer, owner: Any, name: str) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("on purpose")

    engine.put(Mode.SHADOW, PATTERN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, broken)
        asked = probe(engine, Side.REUSE, "g")
        answers = engine.finish([asked, engine.start(PROMPT, TOKENS)])
    assert [len(answer.tokens) for answer in answers] == [TOKENS] * 2
    assert alike(answers[1], clean)
    assert (engine.state.mode, engine.state.reason) == (Mode.TRIPPED, Reason.INTERNAL_ERROR)

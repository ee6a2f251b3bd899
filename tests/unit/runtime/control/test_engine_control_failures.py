"""Tests that what fails in the runtime itself stops reuse, and that neither a kill nor the state waits for
it."""

import pytest
from indexcache_core.contract import Desired, Flags, Kill, Mode, Reason, Site
from indexcache_core.probe_ids import is_probe
from indexcache_runtime.control.behaviour import BASELINE
from indexcache_runtime.control.breaker_control import BreakerControl
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.switch import CallRefused
from indexcache_runtime.engine import Capabilities

SITES = tuple(Site(index=i, layer=i, domain="tokens", k=4) for i in range(4))


def broken(*args: object) -> None:
    raise ValueError("on purpose")


def running() -> EngineControl:
    """Return the control of an engine under reuse."""
    control = EngineControl(Capabilities("m", SITES))
    control.put(
        Desired(
            incarnation=control.incarnation,
            epoch=1,
            permit_seconds=600,
            flags=Flags(mode=Mode.ON, pattern="FSFS"),
        )
    )
    assert control.behaviour().mode is Mode.ON
    return control


@pytest.mark.parametrize("name", ["ask", "judge"])
def test_what_cannot_be_judged_does_not_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    control = running()
    monkeypatch.setattr(BreakerControl, name, broken)
    control._due = 0.0
    control.behaviour()
    assert control.behaviour() == BASELINE
    state = control.state()
    assert (state.supported, state.mode, state.reason) == (False, Mode.TRIPPED, Reason.INTERNAL_ERROR)
    assert state.reasons == (state.message,)
    assert "judging what was measured: ValueError: on purpose" in state.message


def test_after_a_failure_nothing_but_off_is_accepted_and_a_kill_is() -> None:
    control = running()
    control.fail("trying it", ValueError("on purpose"))
    control.fail("trying it", "a worker said so")
    assert control.gave_up
    wanted = Desired(
        incarnation=control.incarnation,
        epoch=2,
        permit_seconds=600,
        flags=Flags(mode=Mode.ON, pattern="FSFS"),
    )
    with pytest.raises(CallRefused, match="Unsupported"):
        control.put(wanted)
    assert control.kill(Kill(reason="somebody")).reason is Reason.KILLED
    assert control.put(wanted.model_copy(update={"flags": Flags()})).mode is Mode.OFF
    assert not control.state().supported


@pytest.mark.parametrize(
    "given", ["icprobe-a-\u00e9", "icprobe-\ud800-\udfff", "icprobe-", "icprobe--", "icprobe-\0-" + "x" * 99]
)
def test_any_text_may_be_an_id(given: str) -> None:
    assert not is_probe(given, "token")

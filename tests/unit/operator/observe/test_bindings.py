"""Tests which token opens which engine: by what is written on its Deployment and on itself."""

from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.credentials import Binding, Credentials, UnknownKey
from indexcache_operator.observe import bindings

OLD, NEW = (
    Credentials(keys=lambda: {"1": b"1" * 32}),
    Credentials(keys=lambda: {"1": b"1" * 32, "2": b"2" * 32}),
)
WHOSE: dict[str, Any] = {"namespace": "n", "name": "r"}


def bound(text: str | None) -> dict[str, Any]:
    """Return a Deployment with this annotation."""
    return {"metadata": {"name": "r", "annotations": {names.CONTROL_ANNOTATION: text} if text else None}}


def pod(ip: str, text: str | None, phase: str = "Running") -> dict[str, Any]:
    return {**bound(text), "status": {"podIP": ip, "phase": phase}}


def test_engines_keep_their_token_under_another_uid_and_with_another_key() -> None:
    first = bindings.of_deployment(OLD, **WHOSE, uid="first", deployment=None)
    kept = bindings.of_deployment(NEW, **WHOSE, uid="second", deployment=bound(str(first.binding)))
    assert kept == first


@pytest.mark.parametrize("text", [None, "", "nonsense", "u/1/2"])
def test_a_deployment_without_a_binding_is_bound_to_the_rollout_and_the_newest_key(text: str | None) -> None:
    found = bindings.of_deployment(NEW, **WHOSE, uid="second", deployment=bound(text))
    assert found.binding == Binding(uid="second", key_id="2")


def test_a_key_that_isnt_known_binds_nothing_anew() -> None:
    with pytest.raises(UnknownKey, match="control key 2"):
        bindings.of_deployment(OLD, **WHOSE, uid="u", deployment=bound("u/2"))


def test_a_forged_binding_selects_a_token_of_the_same_rollout_alone() -> None:
    forged = bindings.of_deployment(NEW, **WHOSE, uid="mine", deployment=bound("theirs/1"))
    theirs = NEW.of("n", "other", Binding(uid="theirs", key_id="1"))
    elsewhere = NEW.of("m", "r", Binding(uid="theirs", key_id="1"))
    assert forged.token not in (theirs.token, elsewhere.token)


def test_each_pod_is_asked_with_the_token_that_it_holds() -> None:
    deployment = NEW.of("n", "r", Binding(uid="u", key_id="2"))
    pods = [
        pod("10.0.0.1", "u/2"),
        pod("10.0.0.2", "before/1"),
        pod("10.0.0.3", None),
        pod("10.0.0.4", "u/3"),
        pod("10.0.0.5", "u/2", phase="Pending"),
    ]
    found = bindings.by_address(NEW, **WHOSE, pods=pods, otherwise=deployment)
    assert bindings.tokens(found) == {
        "10.0.0.1": deployment.token,
        "10.0.0.2": NEW.of("n", "r", Binding(uid="before", key_id="1")).token,
        "10.0.0.3": deployment.token,
    }
    assert "10.0.0.3" not in bindings.by_address(NEW, **WHOSE, pods=pods, otherwise=None)

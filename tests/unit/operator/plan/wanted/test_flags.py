"""Tests what engines are told, and the epochs that fence it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.contract import (
    CONTRACT,
    Desired,
    Flags,
    Identity,
    Indexer,
    InFlight,
    Mode,
    State,
    Thresholds,
)
from indexcache_operator.api.status import PodStatus
from indexcache_operator.contracts import Contracts
from indexcache_operator.model import PutFlags
from indexcache_operator.plan.facts import guardrails
from indexcache_operator.plan.facts.snapshot import OFF
from indexcache_operator.plan.wanted import flags
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, ON_PROMOTED_PERMIT, SHADOW

from tests.unit.operator.plan.build import REVISION, case, engine, pod, snapshot, spec, status, told

WHO = Identity(namespace="ns", rollout="chat", uid="uid")
ASKED = spec(
    indexCache={"pattern": "FSFS", "protected": [3], "minContextTokens": 7, "sampleRows": 9},
    fallback={"permit": {"canary": "5s", "promoted": "60s"}, "inFlight": "Recompute"},
)


def test_off_says_nothing_but_on_whose_behalf() -> None:
    assert flags.content(case(snapshot(spec=None), status()), OFF) == Desired(
        incarnation="", epoch=1, flags=Flags(), identity=WHO
    )


@pytest.mark.parametrize(
    ("kind", "mode", "permit"),
    [(SHADOW, Mode.SHADOW, None), (ON_CANARY_PERMIT, Mode.ON, 5.0), (ON_PROMOTED_PERMIT, Mode.ON, 60.0)],
)
def test_each_kind_of_content(kind: str, mode: Any, permit: float | None) -> None:
    assert flags.content(case(snapshot(spec=ASKED), status()), kind) == Desired(
        incarnation="",
        epoch=1,
        flags=Flags(
            mode=mode,
            pattern="FSFS",
            protected=(3,),
            min_context_tokens=7,
            sample_rows=9,
            in_flight=InFlight.RECOMPUTE,
        ),
        permit_seconds=permit,
        identity=WHO.model_copy(update={"revision": REVISION}),
        thresholds=Thresholds(recall=0.5),
        breaker=guardrails.breaker(ASKED),
    )


def test_engines_are_told_which_indexer_to_run() -> None:
    fast = spec(indexCache={"pattern": "FSFS", "indexer": "Fast"})
    assert flags.content(case(snapshot(spec=fast), status()), SHADOW).flags.indexer is Indexer.FAST


def test_a_content_is_named_by_its_kind_and_what_is_in_it() -> None:
    canary = flags.content(case(snapshot(), status()), ON_CANARY_PERMIT)
    name = flags.name(canary, ON_CANARY_PERMIT)
    kind, _, digest = name.rpartition("-")
    assert (kind, len(digest)) == ("on-canary", 8)
    assert flags.name(canary.model_copy(update={"permit_seconds": 6.0}), ON_CANARY_PERMIT) != name
    assert flags.name(canary, OFF) == OFF


@pytest.mark.parametrize("kind", [OFF, SHADOW, ON_CANARY_PERMIT, ON_PROMOTED_PERMIT])
def test_the_kind_is_read_from_the_name(kind: str) -> None:
    name = flags.name(flags.content(case(snapshot(), status()), kind), kind)
    assert flags.kind_of(PodStatus(name="a", desired=name)) == kind
    assert flags.kind_of(PodStatus(name="a", desired=f"x{name}")) == OFF


def assigned(state: State | None, kind: str, kept: PodStatus, epoch: int = 4) -> tuple[PodStatus, int]:
    before = status(epoch=epoch, pods=(kept,))
    after = flags.assign(case(snapshot(pod("a", state)), before), {"a": kind})
    return after.pods[0], after.epoch


def wanting(kind: str, epoch: int = 4, **changes: Any) -> PodStatus:
    return PodStatus(
        name="a",
        epoch=epoch,
        desired=flags.name(flags.content(case(snapshot(), status()), kind), kind),
        **changes,
    )


def doing(kind: str, epoch: int = 4) -> State:
    """Return an engine that does what it was told under that epoch."""
    state = told({"a": kind}, pod("a")).pods[0].state
    assert state is not None
    return state.model_copy(update={"epoch": epoch})


def test_a_change_takes_one_new_epoch_for_all_that_change() -> None:
    seen = snapshot(
        pod("a", engine(epoch=9)), pod("b", engine(epoch=2)), pod("c", None), pod("d", doing(SHADOW, 3))
    )
    before = status(epoch=4, pods=(replace(wanting(SHADOW, 3), name="d"),))
    after = flags.assign(case(seen, before), dict.fromkeys("abcd", SHADOW))
    assert after.epoch == 10
    assert [(p.name, p.epoch) for p in after.pods] == [("a", 10), ("b", 10), ("c", 10), ("d", 3)]
    assert {p.desired for p in after.pods} == {wanting(SHADOW).desired}


def test_a_new_epoch_is_newer_than_the_statuss_too() -> None:
    assert assigned(engine(epoch=2), SHADOW, PodStatus(name="a"), epoch=7)[1] == 8


def test_a_pod_that_is_not_named_is_off() -> None:
    after = flags.assign(case(snapshot(pod("a", None)), status(pods=(wanting(SHADOW),), epoch=4)), {})
    assert (after.pods[0].desired, after.pods[0].epoch, after.epoch) == (OFF, 5, 5)


@pytest.mark.parametrize(
    ("state", "kind", "epoch"),
    [
        (doing(SHADOW), SHADOW, 4),
        (None, SHADOW, 4),
        (engine(epoch=3), SHADOW, 4),  # older: it can still be told under this epoch
        (engine(Mode.TRIPPED, epoch=4), SHADOW, 5),  # tripped under it
        (doing(SHADOW, 6), SHADOW, 7),  # newer: renewals would be refused
        (engine(epoch=6), OFF, 4),  # off under a newer epoch is off
        (engine(Mode.ON, epoch=6), OFF, 7),
        (engine(epoch=0), OFF, 4),
        (engine(Mode.TRIPPED, epoch=0), OFF, 4),
        (engine(Mode.TRIPPED, epoch=4), OFF, 5),
    ],
)
def test_an_engine_that_can_not_be_brought_there_under_its_epoch_gets_a_new_one(
    state: State | None, kind: str, epoch: int
) -> None:
    kept, last = assigned(state, kind, wanting(kind))
    assert kept.epoch == epoch
    assert last == max(epoch, 4)


def test_an_engine_that_never_heard_anything_can_be_told_under_any_epoch() -> None:
    kept, last = assigned(engine(Mode.TRIPPED, epoch=0), OFF, wanting(OFF, epoch=0), epoch=0)
    assert (kept.epoch, last) == (0, 0)
    assert assigned(engine(Mode.TRIPPED, epoch=1), OFF, wanting(OFF, epoch=1), epoch=1)[0].epoch == 2


@pytest.mark.parametrize(
    ("state", "kind", "permit"),
    [
        (None, ON_CANARY_PERMIT, 5.0),
        (None, ON_PROMOTED_PERMIT, 60.0),
        (None, OFF, 33.0),
        (engine(Mode.ON, epoch=9), OFF, 33.0),
        (engine(Mode.SHADOW, epoch=9), SHADOW, 33.0),  # its new epoch is 10
        (engine(epoch=3), OFF, 33.0),
        (engine(epoch=4), OFF, 0.0),
        (doing(SHADOW), SHADOW, 0.0),
    ],
)
def test_a_permit_is_held_to_run_until_the_engine_is_seen_at_the_baseline_under_its_epoch(
    state: State | None, kind: str, permit: float
) -> None:
    assert (
        assigned(state, kind, wanting(kind, permit=timedelta(seconds=33)))[0].permit.total_seconds() == permit
    )


@pytest.mark.parametrize(
    ("kind", "kept"), [(ON_CANARY_PERMIT, "life"), (ON_PROMOTED_PERMIT, "life"), (SHADOW, ""), (OFF, "")]
)
def test_what_was_confirmed_ends_with_the_exposure(kind: str, kept: str) -> None:
    assert assigned(None, kind, wanting(kind, confirmed="life"))[0].confirmed == kept


def test_what_else_is_kept_of_a_pod_stays() -> None:
    kept = wanting(SHADOW, canary=True, state="shadow", reason="Requested")
    assert assigned(doing(SHADOW), SHADOW, kept)[0] == kept


CHANGES: list[dict[str, Any]] = [
    {"mode": Mode.ON},
    {"desired": Flags()},
    {"identity": WHO},
    {"thresholds": Thresholds(recall=0.4)},
]


def test_an_engine_fulfils_what_it_was_told() -> None:
    wanted = flags.content(case(snapshot(), status()), SHADOW)
    state = doing(SHADOW)
    assert flags.fulfils(state, wanted)
    assert [flags.fulfils(state.model_copy(update=change), wanted) for change in CHANGES] == [False] * 4


def test_an_engine_of_an_older_contract_fulfils_what_it_could_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it would be told again, under a newer epoch, in each look."""
    later = Contracts(present=CONTRACT + 1, added={CONTRACT + 1: ("flags.sample_rows", "identity.uid")})
    monkeypatch.setattr(flags, "SPOKEN", later)
    wanted = flags.content(case(snapshot(spec=ASKED), status()), SHADOW)
    told_so = doing(SHADOW).model_copy(update={"desired": wanted.flags, "identity": wanted.identity})
    older = told_so.model_copy(
        update={
            "desired": wanted.flags.model_copy(update={"sample_rows": 32}),
            "identity": wanted.identity.model_copy(update={"uid": ""}),
        }
    )
    assert flags.fulfils(older, wanted)
    assert not flags.fulfils(told_so, wanted)  # that isn't what an older one can have been told
    newer = {"contract": CONTRACT + 1}
    assert flags.fulfils(told_so.model_copy(update=newer), wanted)
    assert not flags.fulfils(older.model_copy(update=newer), wanted)


def test_a_contents_name_stays_when_a_field_with_a_default_comes() -> None:
    """It stands in the status: another name would give each engine a new epoch at an upgrade."""
    content = flags.content(case(snapshot(spec=ASKED), status(revision="abc")), ON_CANARY_PERMIT)
    assert flags.name(content, ON_CANARY_PERMIT) == "on-canary-a3454a16"

    class Later(Flags):
        """Flags of a contract to come."""

        of_the_next: int = 0

    later = content.model_copy(update={"flags": Later(**content.flags.model_dump())})
    assert flags.name(later, ON_CANARY_PERMIT) == flags.name(content, ON_CANARY_PERMIT)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (engine(), True),
        (engine(Mode.TRIPPED), False),
        (engine(Mode.SHADOW), False),
        (engine(desired=Flags(mode=Mode.SHADOW, pattern="FS")), False),
        (engine(identity=WHO), True),
    ],
)
def test_off_is_off_on_whosever_behalf(state: State, expected: bool) -> None:
    assert flags.fulfils(state, flags.content(case(snapshot(), status()), OFF)) is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (doing(SHADOW), True),
        (doing(SHADOW, 5), True),
        (doing(SHADOW, 3), False),
        (doing(ON_CANARY_PERMIT), False),
        (None, False),
    ],
)
def test_settled_is_who_does_it_under_that_epoch_or_a_newer_one(state: State | None, expected: bool) -> None:
    each = pod("a", state)
    assert flags.settled(case(snapshot(each), status(pods=(wanting(SHADOW),))), each) is expected


def put(state: State | None, kept: PodStatus) -> list[PutFlags]:
    return list(flags.puts(case(snapshot(pod("a", state)), status(pods=(kept,)))))


def test_who_does_not_do_it_is_told_with_the_incarnation_and_the_epoch() -> None:
    wanted = flags.content(case(snapshot(), status()), SHADOW)
    told_to = wanted.model_copy(update={"incarnation": "life", "epoch": 4})
    expected = [PutFlags(pod="a", desired=told_to, contract=CONTRACT)]
    assert put(engine(), wanting(SHADOW)) == expected
    assert put(doing(SHADOW, 3), wanting(SHADOW)) == expected
    assert put(doing(SHADOW), wanting(SHADOW)) == []
    assert put(doing(SHADOW, 5), wanting(SHADOW)) == []
    assert put(None, wanting(SHADOW)) == []


@pytest.mark.parametrize(("kind", "permit"), [(ON_CANARY_PERMIT, 5.0), (ON_PROMOTED_PERMIT, 60.0)])
def test_who_is_told_to_reuse_is_told_for_how_long(kind: str, permit: float) -> None:
    wanted = flags.content(case(snapshot(), status()), kind)
    (told_to,) = put(engine(), wanting(kind))
    assert told_to.desired == wanted.model_copy(update={"incarnation": "life", "epoch": 4})
    assert told_to.desired.permit_seconds == permit


def test_one_that_can_not_be_asked_hides_no_other() -> None:
    seen = snapshot(pod("z", None), pod("a", engine()))
    assert [p.pod for p in flags.puts(case(seen, status(pods=(wanting(SHADOW),))))] == ["a"]


def test_the_first_epoch_is_one() -> None:
    (only,) = put(engine(Mode.TRIPPED), PodStatus(name="a"))
    assert only.desired.epoch == 1
    assert put(engine(Mode.TRIPPED), PodStatus(name="a", epoch=2))[0].desired.epoch == 2


@pytest.mark.parametrize(
    ("left", "due"),
    [(None, True), (5.0 * flags.RENEW_BELOW - 0.01, True), (5.0 * flags.RENEW_BELOW, False), (5.0, False)],
)
def test_a_permit_is_renewed_before_it_lapses(left: float | None, due: bool) -> None:
    state = doing(ON_CANARY_PERMIT).model_copy(update={"permit_remaining_seconds": left})
    assert bool(put(state, wanting(ON_CANARY_PERMIT))) is due


def test_shadow_has_no_permit_to_renew() -> None:
    assert put(doing(SHADOW).model_copy(update={"permit_remaining_seconds": 0.1}), wanting(SHADOW)) == []


def test_the_status_of_pods_that_are_gone_is_dropped() -> None:
    kept = replace(wanting(SHADOW), name="gone")
    assert flags.assign(case(snapshot(pod("a", None)), status(pods=(kept,))), {}).pods == (
        PodStatus(name="a"),
    )


def test_a_pod_that_leaves_is_told_what_is_wanted_of_it_too() -> None:
    seen = snapshot(pod("a", None), pod("b", None, deleting=True))
    assert [flags.kind_of(p) for p in flags.assign(case(seen, status()), {"b": ON_CANARY_PERMIT}).pods] == [
        OFF,
        ON_CANARY_PERMIT,
    ]


@pytest.mark.parametrize("kind", [OFF, SHADOW, ON_CANARY_PERMIT, ON_PROMOTED_PERMIT])
def test_whoever_does_what_is_wanted_is_settled(kind: str) -> None:
    each = pod("a", doing(kind))
    assert flags.settled(case(snapshot(each), status(pods=[wanting(kind)])), each)


def test_a_permit_of_another_length_is_another_content() -> None:
    longer = spec(fallback={"permit": {"canary": "9s", "promoted": "60s"}})
    seen = snapshot(pod("a", None), pod("b", None), spec=longer)
    kept = [wanting(ON_CANARY_PERMIT), replace(wanting(ON_PROMOTED_PERMIT), name="b")]
    after = flags.assign(
        case(seen, status(pods=kept, epoch=4)), {"a": ON_CANARY_PERMIT, "b": ON_PROMOTED_PERMIT}
    )
    assert [p.epoch for p in after.pods] == [5, 4]

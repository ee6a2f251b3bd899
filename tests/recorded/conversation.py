"""Records what operator and engine of one contract say to each other, as data: contract-<number>/*.json.

    fields.json     the fields that travel, by message, and the values of enumerations
    state-*.json    what an engine answers, in each mode
    put-*.json      what an operator tells it; kill.json likewise
    refused-*.json  what an engine answers to what it refuses, with its HTTP status

The engine is the runtime's own control, driven without a socket; the operator's side is the planner's.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from indexcache_core.contract import (
    CONTRACT,
    Desired,
    GuardrailName,
    InFlight,
    Kill,
    Mode,
    Reason,
    Refused,
    Site,
    State,
    Work,
)
from indexcache_operator.plan.facts.snapshot import OFF
from indexcache_operator.plan.wanted import flags
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.routes import FLAGS, KILL, STATE, Answer, Call, Routes
from indexcache_runtime.engine import Capabilities, Measured, Row, StepPlan
from pydantic import BaseModel

from tests.unit.operator.plan.build import case, snapshot, spec, status

HERE = Path(__file__).parent
INCARNATION = "0123456789abcdef"
SITES = tuple(Site(index=i, layer=i + 3, domain="d", k=16) for i in range(4))
ASKED = spec(
    indexCache={"pattern": "FSFS", "protected": [3], "minContextTokens": 7, "sampleRows": 9},
    guardrails={"overlap": {"min": 0.4}, "recall": {"min": 0.5, "perIndexerMin": 0.3}},
    fallback={"permit": {"canary": "5s", "promoted": "60s"}, "inFlight": "Recompute"},
)


def folder(contract: int) -> Path:
    """Return where a contract's conversation is kept."""
    return HERE / f"contract-{contract}"


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the paths of all fields of a message, those of its parts too."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for part in _models(field.annotation):
            yield from fields(part, f"{prefix}{name}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def said(contract: int, kind: str) -> dict[str, Any]:
    """Return what was recorded of a contract, by name: all files of one kind ("state", "put", "refused")."""
    paths = sorted(folder(contract).glob(f"{kind}-*.json"))
    return {path.stem.removeprefix(f"{kind}-"): json.loads(path.read_text()) for path in paths}


def travelling() -> dict[str, list[str]]:
    """Return the fields of each message of the present contract, and the values of each enumeration."""
    messages = {model.__name__: sorted(set(fields(model))) for model in (State, Desired, Kill, Refused)}
    values = {enumeration.__name__: sorted(enumeration) for enumeration in (Mode, Reason, InFlight, Work)}
    return {
        **messages,
        **{name: [str(value) for value in found] for name, found in values.items()},
        "GuardrailName": sorted(get_args(GuardrailName)),
    }


def engine(incarnation: str = INCARNATION) -> tuple[EngineControl, Routes]:
    """Return the control of an engine that stands still, and what answers its port."""
    control = EngineControl(
        Capabilities("DeepseekV32ForCausalLM", SITES),
        engine_version="0.32.0",
        runtime_version="0.1.0",
        checkpoint="a3c15f0e77d20b94",
        clock=lambda: 1000.0,
    )
    control._switch.incarnation = incarnation
    return control, Routes(control, Credentials("token"))


def call(routes: Routes, method: tuple[str, str], body: object = None) -> Answer:
    """Return the answer to a call with the token."""
    number = routes.kill() if method == KILL else None
    return routes.answer(Call(*method, kill=number), b"" if body is None else json.dumps(body).encode())


def desired(kind: str, epoch: int) -> dict[str, Any]:
    """Return the body of a PUT of this kind."""
    content = flags.content(case(snapshot(spec=ASKED), status()), kind)
    return content.model_copy(update={"incarnation": INCARNATION, "epoch": epoch}).model_dump(mode="json")


KILLED = {"reason": "RecallBelowThreshold: revision f7c5d15e75: recall 0.31 under 0.5"}


def puts() -> dict[str, dict[str, Any]]:
    """Return what an operator tells engines, by kind, in rising epochs."""
    kinds = (OFF, flags.SHADOW, flags.ON_CANARY_PERMIT, flags.ON_PROMOTED_PERMIT)
    return {kind: desired(kind, number) for number, kind in enumerate(kinds, 1)}


def states() -> dict[str, Any]:
    """Return what one engine says in each mode, having served and measured, and another that failed."""
    control, routes = engine()
    out = {"started": call(routes, STATE)}
    for kind, body in puts().items():
        accepted = call(routes, FLAGS, body)
        assert accepted.status == 200, accepted
        _serve(control, kind)
        out[kind] = call(routes, STATE)
    out["killed"] = call(routes, KILL, KILLED)
    failing, routes = engine()
    failing.fail("scheduling a step", "recorded")
    out["failed"] = call(routes, STATE)
    return {name: json.loads(answer.body) for name, answer in out.items()}


def _serve(control: EngineControl, kind: str) -> None:
    """Let an engine serve two users, of whom one wants a single token, and measure what it computes for
    them."""
    behaviour, users = control.behaviour(), (f"user-{kind}", f"brief-user-{kind}")
    with control.ledger() as ledger:
        for user, decodes in zip(users, (True, False), strict=True):
            ledger.admit(
                user, prompt_tokens=40, reuse=behaviour.mode is Mode.ON, probe=False, decodes=decodes
            )
    if behaviour.mode is not Mode.OFF:
        rows = (
            Row(users[0], 38, 38),
            Row(users[0], 39, 39),
            Row(users[0], 40, work=Work.DECODE),
            Row(users[1], 39, 39),
        )
        plan = StepPlan(behaviour.mode, behaviour.pattern or "", behaviour.series, rows, draw=1)
        control.measured(
            plan, Measured(overlap={1: [0.7, 0.8, 0.5, 0.6]}, recall={1: [0.9, 0.95, 0.8, 0.85]})
        )
        control.prompts_computed(users)
        control.requests_ended(users)


def refusals() -> dict[str, tuple[int, Any]]:
    """Return an engine's answers to calls that it refuses: HTTP status and body, by code."""
    control, routes = engine()
    good = desired(flags.SHADOW, 5)
    call(routes, FLAGS, good)
    bad: dict[str, Callable[[], Answer | None]] = {
        "Unauthorized": routes.unauthorized,
        "NotFound": lambda: routes.before_body(Call("GET", "/v2/state")),
        "TooLarge": lambda: routes.before_body(Call(*FLAGS, length="99999999")),
        "Invalid": lambda: call(routes, FLAGS, {**good, "flags": {**good["flags"], "not_known": 1}}),
        "DoesNotFit": lambda: call(
            routes, FLAGS, {**good, "epoch": 6, "flags": {**good["flags"], "pattern": "FS", "protected": []}}
        ),
        "OtherIncarnation": lambda: call(routes, FLAGS, {**good, "incarnation": "other"}),
        "OldEpoch": lambda: call(routes, FLAGS, {**good, "epoch": 1}),
        "EpochConflict": lambda: call(routes, FLAGS, {**good, "permit_seconds": 7.0}),
    }
    answers = {code: refuse() for code, refuse in bad.items()}
    control.fail("scheduling a step", "recorded")
    answers["Unsupported"] = call(routes, FLAGS, {**good, "epoch": 6})
    return {
        code: (answer.status, json.loads(answer.body))
        for code, answer in answers.items()
        if answer is not None
    }


def record() -> None:
    """Write the present contract's conversation."""
    here = folder(CONTRACT)
    here.mkdir(exist_ok=True)
    for old in here.glob("*.json"):
        old.unlink()
    files: dict[str, Any] = {"fields": travelling(), "kill": KILLED}
    files |= {f"state-{name}": state for name, state in states().items()}
    files |= {f"put-{kind}": body for kind, body in puts().items()}
    files |= {
        f"refused-{code}": {"status": found, "body": body} for code, (found, body) in refusals().items()
    }
    for name, value in files.items():
        (here / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")

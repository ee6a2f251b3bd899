"""Speaks with engines of another release: those of the contract before are told what they know, and of those
of the one after is read what this release knows.

An engine never speaks but its own contract, so whatever has to be translated is translated here. That needs
no more than a table, as a contract may only add fields, each with a default that means what engines did
before it (docs/releasing.md): a field that an older engine doesn't say has its default, a field that it
doesn't know isn't said, and a field that a newer engine says besides is left out. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from indexcache_core.contract import CONTRACT, Desired, State
from pydantic import BaseModel, ConfigDict

ADDED: Mapping[int, tuple[str, ...]] = {CONTRACT: ("flags.reach_tokens", "flags.indexer")}
"""By contract, fields of a PUT's body that it added to the one before: paths, as "flags.sample_rows"."""


class NotSpoken(Exception):
    """An engine of a contract that this operator can't speak; the message says both and what to do."""


class _Numbered(BaseModel):
    """Reads of a state which contract it is in."""

    model_config = ConfigDict(extra="ignore")

    contract: int


@dataclass(frozen=True, kw_only=True)
class Contracts:
    """The contracts that an operator speaks."""

    present: int = CONTRACT
    added: Mapping[int, tuple[str, ...]] = field(default_factory=lambda: ADDED)

    def read(self, raw: object) -> State:
        """Return the state that an engine's answer holds.

        Raises pydantic.ValidationError for what is no state, NotSpoken for one of another contract.
        """
        number = _Numbered.model_validate(raw).contract
        if abs(number - self.present) > 1:
            raise NotSpoken(self._not_spoken(number))
        return State.model_validate(raw, extra=None if number == self.present else "ignore")

    def body(self, desired: Desired, contract: int) -> Desired | dict[str, Any]:
        """Return the body of a PUT to an engine of this contract, to be written as JSON."""
        unknown = self._unknown(contract)
        if not unknown:
            return desired
        out = desired.model_dump(mode="json")
        for path in unknown:
            _remove(out, path.split("."))
        return out

    def held(self, desired: Desired, contract: int) -> Desired:
        """Return what an engine of this contract makes of a PUT: what it doesn't know is at its default."""
        body = self.body(desired, contract)
        return body if isinstance(body, Desired) else Desired.model_validate(body)

    def _unknown(self, contract: int) -> tuple[str, ...]:
        return tuple(path for number, paths in self.added.items() if number > contract for path in paths)

    def _not_spoken(self, found: int) -> str:
        remedy = (
            "upgrade the operator"
            if found > self.present
            else "run an operator of a release between, or give the engine this release's plugin "
            "(spec.engine.runtime)"
        )
        return f"found contract {found}; expected {self.present}, or the one before or after it; {remedy}"


def _remove(value: Any, path: list[str]) -> None:
    """Leave a field out of JSON; where what holds it isn't there, there is nothing to leave out."""
    *holders, last = path
    for part in holders:
        value = value.get(part) or {}
    value.pop(last, None)


SPOKEN = Contracts()
"""What this release speaks."""

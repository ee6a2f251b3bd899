"""The state machine of reuse in one engine: off, shadow, on, tripped. Pure: the time is an argument, nothing
is read or written.

Invariants:
* reuse runs only while a permit is valid, and only under the flags of the newest epoch accepted;
* `tripped` is left by a newer epoch alone, so a late renewal of what was stopped can't start it again;
* a refused call changes nothing;
* time counts whether or not the engine steps: every question begins with `advance`.
"""

from dataclasses import dataclass, field

from indexcache_core import pattern as patterns
from indexcache_core.contract import (
    Desired,
    Flags,
    Identity,
    Indexer,
    Mode,
    Reason,
    Refused,
    State,
    Thresholds,
)


class CallRefused(Exception):
    """A call that was refused; `refused` is what the caller is told."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"{refused.code}: {refused.message}")
        self.refused = refused


def refuse(code: str, message: str, field: str = "") -> CallRefused:
    """Make a CallRefused to raise."""
    return CallRefused(Refused.model_validate({"code": code, "message": message, "field": field}))


@dataclass
class Switch:
    """Decides which mode the engine is in. Mutable, not thread-safe: whoever shares it holds a lock."""

    incarnation: str
    domains: tuple[str, ...]
    """The domain of each site, in execution order."""
    unsupported: tuple[str, ...] = ()
    """Reasons why only `off` is possible; none if the engine is supported."""
    indexers: tuple[Indexer, ...] = (Indexer.NATIVE,)
    """Those that the engine has."""

    epoch: int = 0
    mode: Mode = Mode.OFF
    reason: Reason = Reason.STARTED
    message: str = ""
    accepted: Desired | None = None
    permit_until: float | None = None
    """In the clock of `now`; None unless mode is on."""
    series_number: int = 0
    _measured: tuple[str, ...] = field(default=(), repr=False)
    _kills: int = field(default=0, repr=False)

    @property
    def flags(self) -> Flags:
        """Return the flags last accepted."""
        return self.accepted.flags if self.accepted else Flags()

    @property
    def identity(self) -> Identity:
        """Return on whose behalf the engine works."""
        return self.accepted.identity if self.accepted else Identity()

    @property
    def thresholds(self) -> Thresholds:
        """Return the guardrails' thresholds, for metrics."""
        return self.accepted.thresholds if self.accepted else Thresholds()

    @property
    def pattern(self) -> str | None:
        """Return the pattern in force: the accepted one with its protected sites Full. None if there is
        none."""
        flags = self.flags
        return None if flags.pattern is None else patterns.protect(flags.pattern, flags.protected)

    def advance(self, now: float) -> None:
        """Let time have passed: a permit that ended while on trips the engine."""
        if self.mode is Mode.ON and self.permit_until is not None and now >= self.permit_until:
            late = now - self.permit_until
            self.trip(
                Reason.PERMIT_LAPSED,
                f"epoch {self.epoch}: the permit ended {late:.1f} s before it was noticed; PUT a newer epoch",
            )

    def state(self, now: float) -> State:
        """Return what of an engine's state is the switch's to tell; all else as if the engine had neither
        sites nor counts."""
        self.advance(now)
        return State(
            supported=not self.unsupported,
            reasons=self.unsupported,
            incarnation=self.incarnation,
            epoch=self.epoch,
            mode=self.mode,
            reason=self.reason,
            message=self.message,
            desired=self.flags,
            identity=self.identity,
            thresholds=self.thresholds,
            permit_remaining_seconds=self.remaining(now),
            series_number=self.series_number,
        )

    def remaining(self, now: float) -> float | None:
        """Return how many seconds of the permit are left; None when no permit runs."""
        return None if self.permit_until is None else max(self.permit_until - now, 0.0)

    def put(self, desired: Desired, now: float) -> None:
        """Accept flags, or renew their permit. Raises CallRefused, and then nothing but time has changed."""
        self.advance(now)
        if desired.incarnation != self.incarnation:
            raise refuse(
                "OtherIncarnation",
                f"{desired.incarnation!r}; this engine is {self.incarnation!r}, GET its state first",
                "incarnation",
            )
        if desired.epoch < self.epoch:
            raise refuse(
                "OldEpoch", f"{desired.epoch}; epoch {self.epoch} was accepted, use a newer one", "epoch"
            )
        if desired.epoch == self.epoch and self.accepted is not None:
            if desired != self.accepted:
                raise refuse(
                    "EpochConflict",
                    f"{desired.epoch} was accepted with other content; use a newer epoch for a change",
                    "epoch",
                )
            if self.mode is Mode.ON:
                self._permit(desired, now)
            return  # tripped stays tripped
        self._check(desired)
        self.accepted, self.epoch = desired, desired.epoch
        self.mode, self.reason, self.message = Mode(desired.flags.mode), Reason.REQUESTED, ""
        self._permit(desired, now)
        measured = (self.pattern or "", repr(desired.flags.protected), desired.flags.indexer)
        if desired.flags.mode == Mode.OFF:
            self._measured = ()  # what follows is another try, to be judged by its own measurements alone
        elif measured != self._measured:
            self._measured = measured
            self.series_number += 1

    def kill(self, reason: str) -> int:
        """Take the engine to the baseline, whatever the mode. Returns the kill's number, for `name_kill`."""
        self.trip(Reason.KILLED, reason)
        self._kills += 1
        return self._kills

    def name_kill(self, number: int, reason: str) -> None:
        """Say why the engine was killed, where that came later than the kill: unless there was another kill,
        or the engine is no longer tripped by it.
        """
        if number == self._kills and self.mode is Mode.TRIPPED and self.reason is Reason.KILLED:
            self.message = reason

    def give_up(self, message: str) -> None:
        """Take the engine to the baseline for the rest of this engine's life: from here on reuse is not
        supported, and the message says why."""
        self.unsupported = (*self.unsupported, message)
        self.trip(Reason.INTERNAL_ERROR, message)

    def trip(self, reason: Reason, message: str) -> None:
        """Take the engine to the baseline until a newer epoch."""
        self.mode, self.reason, self.message, self.permit_until = Mode.TRIPPED, reason, message, None

    def _permit(self, desired: Desired, now: float) -> None:
        on = self.mode is Mode.ON and desired.permit_seconds is not None
        self.permit_until = (
            now + desired.permit_seconds if on and desired.permit_seconds is not None else None
        )

    def _check(self, desired: Desired) -> None:
        flags = desired.flags
        if flags.mode == Mode.OFF:
            return
        if self.unsupported:
            raise refuse("Unsupported", "; ".join(self.unsupported), "flags.mode")
        if flags.pattern is None:
            raise refuse("Invalid", f"missing; mode {flags.mode} needs a pattern", "flags.pattern")
        if reasons := patterns.misfits(flags.pattern, flags.protected, list(self.domains)):
            field = "flags.protected" if all(r.startswith("protected") for r in reasons) else "flags.pattern"
            raise refuse("DoesNotFit", "; ".join(reasons), field)
        if flags.indexer not in self.indexers:
            has = ", ".join(self.indexers)
            raise refuse("DoesNotFit", f"{flags.indexer}; this engine has {has}", "flags.indexer")
        if flags.mode == Mode.ON and desired.permit_seconds is None:
            raise refuse(
                "Invalid",
                "missing; mode on runs only while a permit is renewed, give its seconds",
                "permit_seconds",
            )
        for name in desired.breaker.guardrails if desired.breaker else ():
            threshold: float | None = getattr(desired.thresholds, name)
            if threshold is None or not 0.0 < threshold < 1.0:
                found = "missing" if threshold is None else f"{threshold:g}"
                raise refuse(
                    "Invalid",
                    f"{found}; the breaker judges {name}, give it a threshold in (0, 1)",
                    f"thresholds.{name}",
                )

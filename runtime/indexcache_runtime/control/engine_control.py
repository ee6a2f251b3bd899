"""Guards where the control port's thread and the engine's thread meet: one lock around switch, counts and
measurements.

The engine's thread asks once a step what to do (`behaviour`) and reports what it did; the port's thread reads
and writes the switch. The breaker is judged where that question is asked: what it stops is already stopped
for the step about to be scheduled. The lock is never held while a model runs, so a kill waits for nothing,
and a hung step shows in `step_seconds` instead of hanging GET.

Whatever fails in the runtime itself ends in `fail`: reuse stops for the rest of the engine's life, and the
engine serves on.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Set

from indexcache_core.contract import Desired, Kill, Mode, Site, State, new_incarnation
from indexcache_core.counted import LEAST_AGREEMENT
from indexcache_core.digest import digest

from indexcache_runtime.control.behaviour import BASELINE, Behaviour, taint_class
from indexcache_runtime.control.breaker_control import BreakerControl
from indexcache_runtime.control.ledger import Ledger
from indexcache_runtime.control.switch import Switch
from indexcache_runtime.engine import Capabilities, Measured, StepPlan
from indexcache_runtime.measuring.budget import MeasuringBudget
from indexcache_runtime.measuring.device_log import DeviceLog
from indexcache_runtime.measuring.measurements import Measurements, View
from indexcache_runtime.measuring.timed_prefills import TimedPrefills

logger = logging.getLogger(__name__)

TAG_DIGITS = 32
"""Hex digits of a tag's hash."""


class LockedLedger:
    """Gives a ledger for as long as its lock is held. Not contextlib's: the engine's thread does this at
    every step."""

    def __init__(self, lock: threading.Lock, ledger: Ledger) -> None:
        self._lock, self._ledger = lock, ledger

    def __enter__(self) -> Ledger:
        self._lock.acquire()
        return self._ledger

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


class EngineControl:
    """Controls one engine. Thread-safe."""

    def __init__(
        self,
        capabilities: Capabilities,
        *,
        engine_version: str = "",
        runtime_version: str = "",
        checkpoint: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._capabilities = capabilities
        self._identity = {
            "engine_version": engine_version,
            "runtime_version": runtime_version,
            "checkpoint": checkpoint,
        }
        reasons = capabilities.reasons or (
            ()
            if capabilities.sites
            else ("model: no indexers found; reuse needs a model with DeepSeek Sparse Attention",)
        )
        domains = tuple(s.domain for s in capabilities.sites)
        self._switch = Switch(new_incarnation(), domains, reasons, capabilities.indexers)
        self.k = max((s.k for s in capabilities.sites), default=0)
        self._ledger = Ledger(self.k)
        self._measurements = Measurements(self.k)
        self._breaker_control = BreakerControl(self._switch, self._measurements, capabilities.sites)
        self._behaviour = BASELINE
        self._due = -math.inf
        """When `behaviour` is to look again."""
        self._started: deque[float] = deque()
        self._ended = 0.0
        self._device = DeviceLog()
        self._gave_up = False

    @property
    def incarnation(self) -> str:
        """Return the name of this life of the engine."""
        return self._switch.incarnation

    @property
    def sites(self) -> tuple[Site, ...]:
        """Return the model's sites."""
        return self._capabilities.sites

    @property
    def replayed_tokens(self) -> int:
        """Return Capabilities.replayed_tokens."""
        return self._capabilities.replayed_tokens

    @property
    def gave_up(self) -> bool:
        """Return whether something failed in the runtime itself, so that reuse is over in this engine's
        life."""
        return self._gave_up

    def budget(self) -> MeasuringBudget:
        """Make a budget, for who schedules steps: which of them may be measured."""
        return MeasuringBudget(self._capabilities.graphed_tokens)

    def timed_prefills(self) -> TimedPrefills:
        """Make the choice of steps that are timed, for who schedules them."""
        return TimedPrefills(self._capabilities.graphed_tokens, self._capabilities.timed)

    # The port's side.

    def state(self) -> State:
        """Return what GET answers."""
        with self._lock:
            state, view = self._state(self._clock()), self._measurements.view()
        return self._with_observed(state, view)

    def told(self, known: str = "") -> tuple[State | None, str]:
        """Return what GET answers, and its tag; no state where its tag is the one that the caller knows.

        Two states of one tag differ in nothing but that time has passed: `permit_remaining_seconds` has
        fallen and `step_seconds` has grown by it. The tag holds the incarnation, so no other life of an
        engine, and no other engine, has it.
        """
        with self._lock:
            state, view = self._state(self._clock()), self._measurements.view()
            instants = (self._measurements.version, self._switch.permit_until, self._oldest_step())
        ageless = state.model_copy(update={"permit_remaining_seconds": None, "step_seconds": 0.0})
        tag = f"{state.incarnation}-{digest([ageless.model_dump(mode='json'), instants], TAG_DIGITS)}"
        return (None if tag == known else self._with_observed(state, view)), tag

    def _with_observed(self, state: State, view: View) -> State:
        """Return a state with its measurements. Outside the lock: the engine's thread must not wait for the
        rendering of a thousand histograms.
        """
        observed = view.render()
        with self._lock:
            self._measurements.keep(view)
        return state.model_copy(update={"observed": observed})

    def put(self, desired: Desired) -> State:
        """Accept flags or renew their permit. Raises switch.CallRefused."""
        with self._lock:
            now = self._clock()
            self._switch.put(desired, now)
            self._settle(now)
        return self.state()

    def kill(self, kill: Kill) -> State:
        """Take the engine to the baseline from the next step on."""
        return self.name_kill(self.kill_now(), kill)

    def kill_now(self) -> int:
        """Take the engine to the baseline from the next step on; why is still to come, or never does. Returns
        the kill's number, for `name_kill`."""
        with self._lock:
            number = self._switch.kill("(no reason was read yet)")
            self._settle(self._clock())
        return number

    def name_kill(self, number: int, kill: Kill) -> State:
        """Say why the engine was killed, unless something else has happened to it since."""
        with self._lock:
            self._switch.name_kill(number, kill.reason)
        return self.state()

    def fail(self, doing: str, error: BaseException | str) -> None:
        """Stop reuse for the rest of this engine's life, since the runtime itself failed.

        Args:
            doing: What it was doing, as "scheduling a step".
            error: What was raised, or what another process says of it.
        """
        with self._lock:
            self._give_up(doing, error)

    # The engine's side.

    def behaviour(self) -> Behaviour:
        """Return what the step about to be scheduled shall do. Between calls of the port only time changes
        it, when `_due` says."""
        with self._lock:
            if self._behaviour.mode is not Mode.OFF and (now := self._clock()) >= self._due:
                self._switch.advance(now)
                self._judged(self._breaker_control.judge, now)
                self._settle(now)
                ends = self._switch.permit_until
                self._due = min(self._breaker_control.next_look, math.inf if ends is None else ends)
            return self._behaviour

    def ledger(self) -> LockedLedger:
        """Return the counts, to be changed in a with statement."""
        return LockedLedger(self._lock, self._ledger)

    def started(self) -> None:
        """Note that a step was handed to the workers."""
        self._started.append(self._clock())

    def ended(self) -> float:
        """Note that the oldest step in flight ended. Returns how long it ran by itself: seconds from its
        start, or from the end of the one before."""
        now = self._clock()
        began = max(self._started.popleft(), self._ended) if self._started else now
        self._ended = now
        return now - began

    def measured(self, plan: StepPlan, measured: Measured) -> None:
        """Count what a step measured."""
        with self._lock:
            self._measurements.add(plan, measured)
            self._device.add(measured, reuse=plan.mode is Mode.ON)
            if measured.agreement and (least := min(measured.agreement)) < LEAST_AGREEMENT:
                self._give_up(
                    "choosing by indexer Fast",
                    f"{least:.3f} of the tokens that it chose for a row score as high as the last that "
                    f"vLLM's kernels choose, expected {LEAST_AGREEMENT:g} at least",
                )

    @property
    def prefilling(self) -> Set[str]:
        """Return the requests of whose prompts something is measured that waits for `prompts_computed`."""
        with self._lock:  # the port's thread clears it where another series begins
            return frozenset(self._measurements.prefilling)

    def prompts_computed(self, requests: Iterable[str]) -> None:
        """Note that these prompts are computed, and all that was measured of them was told."""
        with self._lock:
            self._measurements.prefilled(requests)

    def requests_ended(self, requests: Iterable[str]) -> None:
        """Note that these requests ended, and all that was measured of them was told."""
        with self._lock:
            self._measurements.ended(requests)

    def _give_up(self, doing: str, error: BaseException | str) -> None:
        found = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        message = (
            f"internal error while {doing}: {found[:400]}; the engine serves on without reuse, its log has "
            "the traceback: please report it"
        )
        logger.error("indexcache: %s", message, exc_info=error if isinstance(error, BaseException) else None)
        self._gave_up = True
        self._switch.give_up(message)
        self._behaviour, self._due = BASELINE, -math.inf
        self._started.clear()  # nobody counts them from here on

    def _judged(self, judge: Callable[[float], None], now: float) -> None:
        """Ask the breaker. What it can't judge must not run."""
        if self._gave_up:
            return
        try:
            judge(now)
        except Exception as e:  # noqa: BLE001  # told, and reuse stops
            self._give_up("judging what was measured", e)

    def _settle(self, now: float) -> None:
        s, flags, self._due = self._switch, self._switch.flags, -math.inf
        self._ledger.begin(s.series_number)
        self._judged(self._breaker_control.ask, now)
        if s.mode not in (Mode.SHADOW, Mode.ON) or s.pattern is None:
            self._behaviour = BASELINE
            return
        reused = taint_class(s.pattern, flags.min_context_tokens, flags.indexer)
        new = Behaviour(
            s.mode,
            s.pattern,
            flags.min_context_tokens,
            flags.sample_rows,
            s.series_number,
            reused if s.mode is Mode.ON else None,
            flags.in_flight,
            flags.reach_tokens if s.mode is Mode.ON else None,
            flags.indexer,
        )
        if new != self._behaviour:
            self._behaviour = new

    def _oldest_step(self) -> float | None:
        """Return when the step now running began; None between steps."""
        return next(iter(self._started.copy()), None)

    def _state(self, now: float) -> State:
        self._switch.advance(now)
        self._settle(now)  # which may give up, and the state says so
        state = self._switch.state(now)
        oldest = self._oldest_step()
        return state.model_copy(
            update={
                **self._identity,
                "architecture": self._capabilities.architecture,
                "sites": self._capabilities.sites,
                "indexers": self._capabilities.indexers,
                "requests": self._ledger.requests(),
                "steps": self._ledger.steps(),
                "cache": self._ledger.cache(),
                "probe_runs": self._ledger.probe_log.runs(),
                "breaker": self._breaker_control.standing(),
                "step_seconds": now - oldest if oldest is not None else 0.0,
                "prefill_full": self._device.times(reuse=False),
                "prefill_reuse": self._device.times(reuse=True),
                "device": self._device.use,
                "fast_indexer": self._device.fast_indexer,
            }
        )

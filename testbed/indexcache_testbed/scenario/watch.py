"""An independent witness: what the engines themselves said, and what the rollout's status said, moment by
moment.

It asks each engine over its control port, as the operator does, but on its own: what the operator did is
judged by this record, never by the operator's own account.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
from indexcache_core.contract import CONTROL_PORT, Mode, State

from indexcache_testbed.background import Background
from indexcache_testbed.scenario import kubectl


@dataclass(frozen=True)
class Answers:
    """Holds what all engines said at one moment; an engine that did not answer is missing."""

    at: float
    """Seconds of time.monotonic()."""
    states: dict[str, State]


@dataclass(frozen=True)
class Seen:
    """An object as the API server had it from one moment on; empty before it was made and after it was
    deleted.
    """

    at: float
    object: dict[str, Any]

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.object.get("status") or {}
        return found

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))


@dataclass
class Witness:
    """Watches one rollout and its engines while it is entered."""

    namespace: str
    rollout: str
    route: str
    interval: float = 0.2
    """Seconds between two looks at the engines."""
    looks: list[Answers] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    """The rollout."""
    routes: list[Seen] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _background: Background = field(default_factory=lambda: Background("the witness"))
    _pods: dict[str, str] = field(default_factory=dict)
    _token: str = ""
    _session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0))
        self._background.begin(
            self._follow("icr", self.rollout, self.seen),
            self._follow("httproute", self.route, self.routes),
            self._follow_pods(),
            self._follow_engines(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        try:
            await self._background.end()
        finally:
            await self._session.close()

    @property
    def engines(self) -> dict[str, State]:
        """Return what engines said in the last look."""
        return self.looks[-1].states if self.looks else {}

    @property
    def now(self) -> Seen:
        """Return the rollout as last seen."""
        return self.seen[-1] if self.seen else Seen(time.monotonic(), {})

    async def until(self, what: str, holds: Callable[["Witness"], bool], within: float) -> float:
        """Wait for a condition; the moment at which it was seen. Raises TimeoutError saying what did not
        come, and what was there.
        """
        self._background.check()
        try:
            async with self.changed:
                async with asyncio.timeout(within):
                    await self.changed.wait_for(lambda: holds(self))
        except TimeoutError:
            raise TimeoutError(f"{what}: not seen in {within:.0f} s; {self.describe()}") from None
        return time.monotonic()

    async def until_phase(self, *phases: str, within: float) -> float:
        """Wait for the rollout to be in one of these phases, for the spec as it is now."""
        return await self.until(
            f"phase {' or '.join(phases)}", lambda w: w.now.phase in phases and w.current(), within
        )

    def current(self) -> bool:
        """Return whether the status speaks of the present spec."""
        return bool(
            self.now.status.get("observedGeneration") == self.now.object.get("metadata", {}).get("generation")
        )

    def describe(self) -> str:
        """Describe the present in a line."""
        modes = ", ".join(
            f"{pod.rsplit('-', 1)[-1]} {s.mode} ({s.reason})" for pod, s in sorted(self.engines.items())
        )
        return (
            f"phase {self.now.phase or 'none'}: {self.now.status.get('message', '')}; engines: "
            f"{modes or 'none answers'}"
        )

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _follow(self, kind: str, name: str, into: list[Seen]) -> None:
        """Keep every version of an object that the API server tells of."""
        while True:
            process = await asyncio.create_subprocess_exec(
                *(
                    "kubectl",
                    "-n",
                    self.namespace,
                    "get",
                    kind,
                    name,
                    "--watch",
                    "--output-watch-events",
                    "-o",
                    "json",
                ),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=2**24,
            )
            assert process.stdout is not None
            try:
                async for line in process.stdout:  # one event a line
                    event = json.loads(line)
                    into.append(Seen(time.monotonic(), {} if event["type"] == "DELETED" else event["object"]))
                    await self._notify()
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
            await asyncio.sleep(0.5)  # it isn't there yet, or the watch ended

    async def _follow_pods(self) -> None:
        """Follow which engines there are, and the token to ask them with."""
        while True:
            found = await kubectl.items("pods", self.namespace, f"indexcache.dev/rollout={self.rollout}")
            self._pods = {
                p["metadata"]["name"]: p["status"]["podIP"] for p in found if p["status"].get("podIP")
            }
            named = {name for p in found if (name := control_secret(p["spec"]))}
            # Each kubectl is a process of its own.
            if named and (not self._token or (self._pods and not self.engines)):
                secret = await kubectl.find("secret", max(named), self.namespace)
                self._token = secret["data"]["token"] if secret else ""
            await asyncio.sleep(1.0)

    async def _follow_engines(self) -> None:
        while True:
            start, pods = (
                time.monotonic(),
                self._pods,
            )  # which may be another dictionary by the time that all have answered
            answers = await asyncio.gather(*(self.ask(ip) for ip in pods.values()))
            self.looks.append(
                Answers(time.monotonic(), {p: s for p, s in zip(pods, answers, strict=True) if s})
            )
            await self._notify()
            await asyncio.sleep(max(0.0, start + self.interval - time.monotonic()))

    async def ask(self, ip: str) -> State | None:
        """Ask one engine for its state; return None if it does not answer (it may be starting, or gone)."""
        assert self._session is not None
        headers = {"Authorization": f"Bearer {base64.b64decode(self._token).decode()}"}
        try:
            async with self._session.get(f"http://{ip}:{CONTROL_PORT}/v1/state", headers=headers) as response:
                return State.model_validate_json(await response.read()) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None


def control_secret(pod_spec: dict[str, Any]) -> str | None:
    """Return the name of the Secret with an engine's control token, out of its pod's spec."""
    sources = (v.get("secret") for v in pod_spec.get("volumes", []) if v["name"] == "indexcache-control")
    return next((str(source["secretName"]) for source in sources if source), None)


def backends(route: Seen) -> dict[str, int]:
    """Return the weights of the route's first rule by backend."""
    rules = route.object.get("spec", {}).get("rules") or [{}]
    return {b["name"]: b.get("weight", 1) for b in rules[0].get("backendRefs", [])}


def reusing(look: Answers) -> list[str]:
    """Return the engines in mode `on`."""
    return sorted(pod for pod, state in look.states.items() if state.mode is Mode.ON)

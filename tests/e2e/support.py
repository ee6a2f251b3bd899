"""Holds what the end-to-end tests share: a way to each engine's own ports, to Prometheus and the webhook, and
rollouts that hold still.
"""

import asyncio
import base64
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
from indexcache_core.contract import CONTROL_PORT, MAX_BODY, Desired, Flags, Mode, State
from indexcache_testbed.scenario import install, kubectl
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import Answers, backends, control_secret, reusing

USERS_PORT = 8000
BASELINE, CANARY = f"{install.ROLLOUT}-baseline", f"{install.ROLLOUT}-canary"
SELECTOR = f"indexcache.dev/rollout={install.ROLLOUT}"
_variants = itertools.count(1)

Object = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Completion:
    """An answer, token by token."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]
    mode: str
    """The engine's mode by its own word."""


@dataclass
class Engines:
    """The engines, each at its own address."""

    session: aiohttp.ClientSession
    _token: str = field(default="", repr=False)

    async def pods(self) -> dict[str, str]:
        """Return addresses by name, of those that are not on their way out."""
        found = await kubectl.items("pods", install.NAMESPACE, SELECTOR)
        return {
            p["metadata"]["name"]: p["status"]["podIP"]
            for p in found
            if "deletionTimestamp" not in p["metadata"]
        }

    async def token(self) -> str:
        """Return the control port's token."""
        if not self._token:
            deployment = await kubectl.get("deployment", install.ROLLOUT, install.NAMESPACE)
            name = control_secret(deployment["spec"]["template"]["spec"])
            assert name is not None
            secret = await kubectl.get("secret", name, install.NAMESPACE)
            self._token = base64.b64decode(secret["data"]["token"]).decode()
        return self._token

    async def call(
        self, method: str, ip: str, path: str, body: bytes | None = None, token: str | None = None
    ) -> tuple[int, str]:
        """Return status and text of a call to a control port; with the engines' token unless another is given
        ("": none at all). A large body is sent only once it is asked for, as curl does: a refusal that comes
        while it is under way can be lost with the connection.
        """
        token = await self.token() if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        large = body is not None and len(body) > MAX_BODY
        async with self.session.request(
            method, f"http://{ip}:{CONTROL_PORT}{path}", data=body, headers=headers, expect100=large
        ) as answer:
            return answer.status, await answer.text()

    async def state(self, ip: str) -> State:
        """Return an engine's state."""
        status, text = await self.call("GET", ip, "/v1/state")
        assert status == 200, text
        return State.model_validate_json(text)

    async def put(self, ip: str, flags: Flags, permit: float | None = None) -> State:
        """Set flags under the next epoch. Only while no rollout owns the engines."""
        state = await self.state(ip)
        wanted = Desired(
            incarnation=state.incarnation, epoch=state.epoch + 1, flags=flags, permit_seconds=permit
        )
        status, text = await self.call("PUT", ip, "/v1/flags", wanted.model_dump_json().encode())
        assert status == 200, text
        return State.model_validate_json(text)

    async def complete(self, ip: str, prompt: str, *, tokens: int) -> Completion:
        """Return what one engine answers to a user."""
        body = {
            "model": install.MODEL,
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "logprobs": 1,
        }
        async with self.session.post(f"http://{ip}:{USERS_PORT}/v1/completions", json=body) as answer:
            assert answer.status == 200, await answer.text()
            choice = (await answer.json())["choices"][0]["logprobs"]
            return Completion(
                tuple(choice["tokens"]), tuple(choice["token_logprobs"]), answer.headers["x-indexcache-state"]
            )


async def service(name: str, namespace: str) -> str:
    """Return a Service's URL inside the testbed."""
    spec = (await kubectl.get("service", name, namespace))["spec"]
    return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"


async def annotate(key: str, value: str) -> None:
    """Annotate the rollout with kubectl."""
    await kubectl.kubectl(
        "-n", install.NAMESPACE, "annotate", "icr", install.ROLLOUT, f"{key}={value}", "--overwrite"
    )


def held(weight: int, change: Callable[[Object], None] | None = None) -> Callable[[Object], None]:
    """Return a change that makes a rollout of an example stay at its only step, under a revision that was
    never tried."""

    def apply(rollout: Object) -> None:
        rollout["spec"]["strategy"]["steps"] = [{"weight": weight, "minDuration": "10m"}]
        # No context is so short: nothing but the revision's name changes.
        rollout["spec"]["indexCache"]["minContextTokens"] = next(_variants)
        if change:
            change(rollout)

    return apply


async def exposed(
    stage: Stage, example: str, weight: int, change: Callable[[Object], None] | None = None
) -> list[str]:
    """Bring a rollout to its canary and hold it there; the canary's pods, once the engines' counters have
    shown the weight.
    """
    await stage.apply(example, held(weight, change))
    await stage.until_exposed(weight, within=180)
    return list(stage.witness.now.status["canaryPods"])


def restored(stage: Stage) -> bool:
    """Return whether the users' route is as they wrote it."""
    return bool(stage.witness.routes) and set(backends(stage.witness.routes[-1])) == {BASELINE}


def after(looks: Sequence[Answers], moment: float) -> list[Answers]:
    """Return the looks that began after a moment: one takes a second at most."""
    return [look for look in looks if look.at > moment + 1.0]


def heard(looks: Sequence[Answers], engines: int = 3) -> list[Answers]:
    """Return the looks in which that many engines answered: on a busy machine one may be late."""
    return [look for look in looks if len(look.states) == engines]


def all_off(look: Answers, engines: int = 3) -> bool:
    """Return whether that many engines answered, and none reuses."""
    return len(look.states) == engines and not reusing(look)


def modes(look: Answers) -> set[Mode]:
    """Return the modes of all engines."""
    return {state.mode for state in look.states.values()}


async def in_groups(size: int, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Return the results of all calls in order, so many of them under way at a time."""
    slots = asyncio.Semaphore(size)

    async def one(call: Callable[[], Awaitable[T]]) -> T:
        async with slots:
            return await call()

    return list(await asyncio.gather(*(one(call) for call in calls)))

"""Tells whether a look at a rollout at rest would see anything that the last one did not, but that time has
passed.

Two proofs are needed. Every object is the very same that the last look began with, as the watches tell it
now; where one isn't told now, nothing is proven. And every engine says that its state has the tag that it had
then. An engine that is silent, or knows no tags, proves nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from indexcache_operator import names
from indexcache_operator.api.spec import HttpRoute
from indexcache_operator.credentials import Control, Keys
from indexcache_operator.engines import Engines
from indexcache_operator.informers.reads import NotCurrent, ToldReads
from indexcache_operator.model import Rollout
from indexcache_operator.objects import Object
from indexcache_operator.observe import asking, gateway, pods
from indexcache_operator.observe.asking import Answer
from indexcache_operator.observe.claims import Claims
from indexcache_operator.observe.rollout import at_rest
from indexcache_operator.workload.pod import selector


class Unchanged:
    """Stands for a look that would have seen nothing new."""


UNCHANGED = Unchanged()


def _same(some: Sequence[Object | None], others: Sequence[Object | None]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


@dataclass(frozen=True, kw_only=True)
class Held:
    """Holds all but engines that a look at a rollout rests on, as it was told at one moment."""

    rollout: Object
    where: HttpRoute | None
    """Which route, and which rule of it."""
    parts: tuple[Object | None, ...]
    """Deployment, both Services, route."""
    found: tuple[Object, ...]
    """The pods."""
    holder: str | None
    """Another rollout that has its rule."""
    keys: Keys = field(repr=False)

    def same(self, other: "Held") -> bool:
        """Return whether these are the very same objects."""
        return (
            self.rollout is other.rollout
            and self.where == other.where
            and _same(self.parts, other.parts)
            and _same(self.found, other.found)
            and (self.holder, self.keys) == (other.holder, other.keys)
        )


@dataclass(frozen=True, kw_only=True)
class Basis:
    """Holds what the last look rested on."""

    held: Held
    guards: Mapping[str, Control]
    tags: Mapping[str, str]
    """Of each engine's state, by its address."""


def hold(
    informed: ToldReads, claims: Claims, keys: Keys, raw: Object, where: HttpRoute | None
) -> Held | None:
    """Return what a look at a rollout rests on now; None where it isn't at rest, or something isn't told."""
    if not at_rest(raw):
        return None
    namespace, name = raw["metadata"]["namespace"], raw["metadata"]["name"]
    paths = [
        names.object_path("apis/apps/v1", "deployments", namespace, name),
        names.object_path("api/v1", "services", namespace, names.baseline_service(name)),
        names.object_path("api/v1", "services", namespace, names.canary_service(name)),
        *([names.object_path(*names.HTTP_ROUTES, namespace, where.name)] if where is not None else []),
    ]
    try:
        found = informed.all_told(names.object_path("api/v1", "pods", namespace), selector(name))
        return Held(
            rollout=raw,
            where=where,
            parts=tuple(informed.told(path) for path in paths),
            found=tuple(pod for pod in found if not pods.ended(pod)),
            holder=claims.other_than(raw),
            keys=dict(keys),
        )
    except NotCurrent:
        return None


def told(
    informed: ToldReads, claims: Claims, keys: Keys, namespace: str, name: str, where: HttpRoute | None
) -> Held | None:
    """Return the same of a rollout as its watch tells it now."""
    try:
        raw = informed.told(names.rollouts_path(namespace, name))
    except NotCurrent:
        return None
    return None if raw is None else hold(informed, claims, keys, raw, where)


def begun(informed: ToldReads | None, claims: Claims, keys: Keys, rollout: Rollout) -> Held | None:
    """Return what a look that begins now rests on; None where a later one can't be compared with it."""
    if informed is None:
        return None
    return hold(informed, claims, keys, rollout.raw, gateway.where(rollout))


def basis(
    held: Held | None, guards: Mapping[str, Control], asked: list[Object], answers: list[Answer]
) -> Basis | None:
    """Return what later looks are compared with; None where some engine's state has no tag.

    Args:
        held: As it was when the look began: what was told since is new to the next.
        guards: By address.
        asked: The pods whose engines were asked.
        answers: What these said, in the same order.
    """
    if held is None or not _same(held.found, asked):
        return None
    tags = {
        ip: answer.tag
        for pod, answer in zip(asked, answers, strict=True)
        if (ip := pods.askable(pod)) is not None and answer.tag
    }
    return Basis(held=held, guards=guards, tags=tags) if len(tags) == len(answers) else None


async def asked_again(engines: Engines, last: Basis) -> dict[str, Answer]:
    """Return by address what engines say to the question whether they are as they were."""
    found = await asyncio.gather(
        *(asking.again(engines, last.guards, ip, tag) for ip, tag in last.tags.items())
    )
    return dict(zip(last.tags, found, strict=True))

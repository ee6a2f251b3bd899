"""Reads as the client has them, answered from stores that are current, else by the API server."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from indexcache_operator.informers.informer import Informer
from indexcache_operator.kube import Kube, NotFound
from indexcache_operator.names import Place, place
from indexcache_operator.objects import Object


class Reads(Protocol):
    """Reads of objects."""

    async def get(self, path: str) -> Object:
        """Return one object. Raises NotFound, KubeError."""

    async def select(self, path: str, selector: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects that carry these labels. Raises KubeError."""


class NotCurrent(Exception):
    """A read that no store can answer now."""


class ToldReads(Reads, Protocol):
    """Reads of objects that watches tell: of what they tell now nobody needs to be asked."""

    def told(self, path: str) -> Object | None:
        """Return one object as its watch told it last, None if there is none. Raises NotCurrent."""

    def all_told(self, path: str, selector: Mapping[str, str]) -> list[Object]:
        """Return the objects that carry these labels, in the same way. Raises NotCurrent."""


class InformedReads:
    """Reads from the stores of informers. What none of them has, or has currently, is asked for.

    Objects are shared: nobody may change one.
    """

    def __init__(self, kube: Kube, informers: Sequence[Informer]) -> None:
        self._kube = kube
        self._informers: dict[tuple[str, str, str | None], Informer] = {
            (i.api, i.plural, i.namespace): i for i in informers
        }

    async def get(self, path: str) -> Object:
        """Return one object. Raises NotFound, KubeError."""
        at = place(path)
        informer = self._informer(at)
        if informer is None or at.name is None or at.subresource:
            return await self._kube.get(path)
        found = informer.store.get(at.namespace or "", at.name)
        if found is None:
            raise NotFound(404, "NotFound", f"GET {path}: not found")
        return found

    async def select(self, path: str, selector: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects that carry these labels. Raises KubeError."""
        at = place(path)
        informer = self._informer(at)
        if informer is None or at.name is not None:
            return await self._kube.select(path, selector)
        return informer.store.select(at.namespace, selector or {})

    def told(self, path: str) -> Object | None:
        """Return one object as its watch told it last, None if there is none. Asks nobody: raises NotCurrent
        where no watch tells it now.
        """
        at = place(path)
        informer = self._informer(at)
        if informer is None or at.name is None:
            raise NotCurrent(path)
        return informer.store.get(at.namespace or "", at.name)

    def all_told(self, path: str, selector: Mapping[str, str]) -> list[Object]:
        """Return the objects that carry these labels, in the same way. Raises NotCurrent."""
        at = place(path)
        informer = self._informer(at)
        if informer is None:
            raise NotCurrent(path)
        return informer.store.select(at.namespace, selector)

    def tell(self, on_change: Callable[[str, Object], None]) -> None:
        """Have somebody told of each change that a watch tells, by the plural and the object."""
        for informer in self._informers.values():
            informer.on_change = on_change

    def heard(self, path: str, item: Object) -> None:
        """Take up an object at a path, or a subresource's, that came another way than by an informer."""
        for informer in self._having(place(path)):
            informer.store.heard(item)

    def _informer(self, at: Place) -> Informer | None:
        """Return an informer that has a place and is current, if there is one."""
        return next((informer for informer in self._having(at) if informer.current), None)

    def _having(self, at: Place) -> Iterator[Informer]:
        """Yield the informers that have a place: of its namespace, and of all."""
        for namespace in {at.namespace, None}:
            if (at.api, at.plural, namespace) in self._informers:
                yield self._informers[at.api, at.plural, namespace]

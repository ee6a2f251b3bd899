"""Objects of one collection, by namespace and name, each as new as anybody has told. Pure.

The watch tells, in the order of versions. Other ways may be faster: the API server's answer to a write of
this process, another watch of the same kind. So a look sees what was written before it, though the watch may
tell it only later. Versions of one collection are whole numbers that grow with each write.

What is kept stays the very same object until it is replaced by another version: whoever holds it can tell
that nothing has changed. Nobody may change one.
"""

from collections.abc import Iterable, Mapping

from indexcache_operator.informers.slim import Slim, whole
from indexcache_operator.objects import Object

Key = tuple[str, str]
"""Namespace and name."""


class Store:
    """Holds the objects of one collection that carry these labels, with any value where that is None."""

    def __init__(
        self,
        selector: Mapping[str, str | None] | None = None,
        *,
        slim: Slim = whole,
        indexed: str | None = None,
    ) -> None:
        """Hold nothing yet. `slim`: says what of an object is kept; `indexed`: a label by which objects are
        found without a look at all of them.
        """
        self._selector = dict(selector or {})
        self._slim, self._indexed = slim, indexed
        self._objects: dict[Key, Object] = {}
        self._index: dict[Key, set[Key]] = {}
        """Keys by namespace and value of the label."""
        self._told = 0
        """Version up to which the watch has told everything."""

    def get(self, namespace: str, name: str) -> Object | None:
        """Return one object; None if there is none."""
        return self._objects.get((namespace, name))

    def select(self, namespace: str | None, labels: Mapping[str, str]) -> list[Object]:
        """Return the objects with these labels in a namespace, or in all where it is None, by name."""
        keys: Iterable[Key] = self._objects
        if namespace is not None and self._indexed is not None and self._indexed in labels:
            keys = self._index.get((namespace, labels[self._indexed]), ())
        return [
            self._objects[key]
            for key in sorted(keys)
            if (namespace is None or key[0] == namespace)
            and labels.items() <= _labels(self._objects[key]).items()
        ]

    def replace(self, objects: Iterable[Object], version: int) -> list[Object]:
        """Take up a whole list, as it was at a version; only what was heard of since stays beside it. Return
        what was changed by that, what is gone included.
        """
        listed = {_key(item): item for item in objects}
        gone = [
            item for key, item in self._objects.items() if key not in listed and _version(item) <= version
        ]
        for item in gone:
            self._drop(_key(item))
        changed = [item for item in listed.values() if self._put(item, gone=False)]
        self._told = version
        return gone + changed

    def told(self, item: Object, *, gone: bool = False) -> bool:
        """Take up an event of the watch: an object as it is now, or as it last was. Return whether anything
        that is kept has changed, versions aside.
        """
        self.told_up_to(_version(item))
        return self._put(item, gone=gone)

    def told_up_to(self, version: int) -> None:
        """Take up a bookmark: everything up to this version was told."""
        self._told = max(self._told, version)

    def heard(self, item: Object) -> None:
        """Take up an object that came another way, unless the watch has told as much already."""
        if _version(item) > self._told:
            self._put(item, gone=not self._selects(item))

    def _put(self, item: Object, *, gone: bool) -> bool:
        """Keep an object, or that there is none, unless one as new is known. Return whether anything has
        changed.
        """
        key, kept = _key(item), self._objects.get(_key(item))
        if kept is not None and (
            _version(kept) > _version(item) or (_version(kept) == _version(item) and not gone)
        ):
            return False
        self._drop(key)
        if gone:
            return kept is not None
        self._objects[key] = slim = self._slim(item)
        if self._indexed in _labels(slim):
            self._index.setdefault((key[0], _labels(slim)[self._indexed]), set()).add(key)
        return kept is None or _content(kept) != _content(slim)

    def _drop(self, key: Key) -> None:
        item = self._objects.pop(key, None)
        if item is None or self._indexed not in _labels(item):
            return
        place = (key[0], _labels(item)[self._indexed])
        self._index[place].discard(key)
        if not self._index[place]:
            del self._index[place]

    def _selects(self, item: Object) -> bool:
        labels = _labels(item)
        return all(name in labels and value in (None, labels[name]) for name, value in self._selector.items())


def _key(item: Object) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])


def _labels(item: Object) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def _content(item: Object) -> Object:
    """Return an object without its version."""
    return {**item, "metadata": {**item["metadata"], "resourceVersion": ""}}

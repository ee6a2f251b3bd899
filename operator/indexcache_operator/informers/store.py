"""Objects of one collection, by namespace and name, each as new as anybody has told. Pure.

The watch tells, in the order of versions. Other ways may be faster: the API server's answer to a write of
this process, another watch of the same kind. So a look sees what was written before it, though the watch may
tell it only later. Versions of one collection are whole numbers that grow with each write.
"""

from collections.abc import Iterable, Mapping

from indexcache_operator.objects import Object

Key = tuple[str, str]
"""Namespace and name."""


class Store:
    """Holds the objects of one collection that carry these labels, with any value where that is None."""

    def __init__(self, selector: Mapping[str, str | None] | None = None) -> None:
        self._selector = dict(selector or {})
        self._objects: dict[Key, Object] = {}
        self._told = 0
        """Version up to which the watch has told everything."""

    def get(self, namespace: str, name: str) -> Object | None:
        """Return one object; None if there is none."""
        return self._objects.get((namespace, name))

    def select(self, namespace: str | None, labels: Mapping[str, str]) -> list[Object]:
        """Return the objects with these labels in a namespace, or in all where it is None, by name."""
        found = (
            (key, item)
            for key, item in self._objects.items()
            if (namespace is None or key[0] == namespace) and labels.items() <= _labels(item).items()
        )
        return [item for _, item in sorted(found, key=lambda pair: pair[0])]

    def replace(self, objects: Iterable[Object], version: int) -> None:
        """Take up a whole list, as it was at a version; only what was heard of since stays beside it."""
        newer = {key: item for key, item in self._objects.items() if _version(item) > version}
        self._objects = {_key(item): _slim(item) for item in objects} | newer
        self._told = version

    def told(self, item: Object, *, gone: bool = False) -> None:
        """Take up an event of the watch: an object as it is now, or as it last was."""
        self.told_up_to(_version(item))
        self._put(item, gone=gone)

    def told_up_to(self, version: int) -> None:
        """Take up a bookmark: everything up to this version was told."""
        self._told = max(self._told, version)

    def heard(self, item: Object) -> None:
        """Take up an object that came another way, unless the watch has told as much already."""
        if _version(item) > self._told:
            self._put(item, gone=not self._selects(item))

    def _put(self, item: Object, *, gone: bool) -> None:
        """Keep an object, or that there is none, unless a newer one is known."""
        key, kept = _key(item), self._objects.get(_key(item))
        if kept is not None and _version(kept) > _version(item):
            return
        if gone:
            self._objects.pop(key, None)
        else:
            self._objects[key] = _slim(item)

    def _selects(self, item: Object) -> bool:
        labels = _labels(item)
        return all(name in labels and value in (None, labels[name]) for name, value in self._selector.items())


def _key(item: Object) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])


def _labels(item: Object) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def _slim(item: Object) -> Object:
    """Return an object without the record of who manages which field, often its larger half."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    return {**item, "metadata": metadata}

"""Tests what is known of one collection, whoever told it, in whatever order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from indexcache_operator.informers.store import Store
from indexcache_operator.objects import Object

ENGINE = {"engine": "true"}


def pod(version: int, name: str = "a", namespace: str = "ns", **labels: str) -> Object:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "resourceVersion": str(version)}
    return {"metadata": {**metadata, "labels": {**ENGINE, **labels}, "managedFields": [{"manager": "m"}]}}


def version(store: Store, name: str = "a") -> int | None:
    found = store.get("ns", name)
    return None if found is None else int(found["metadata"]["resourceVersion"])


def test_a_list_is_the_whole() -> None:
    store = Store()
    store.replace([pod(1), pod(2, "b")], 3)
    store.replace([pod(2, "b")], 5)
    assert (version(store), version(store, "b")) == (None, 2)


def test_nothing_is_kept_of_who_manages_what() -> None:
    store = Store()
    store.replace([pod(1)], 1)
    store.told(pod(2, "b"))
    store.heard(pod(3, "c"))
    assert [item["metadata"].keys() & {"managedFields"} for item in store.select(None, {})] == [set()] * 3


def test_what_was_written_is_seen_before_the_watch_tells_it() -> None:
    store = Store()
    store.replace([pod(1)], 4)
    store.heard(pod(9))
    assert version(store) == 9
    store.told(pod(6))  # on its way already when the write was answered
    assert version(store) == 9
    store.replace([pod(6)], 7)  # so was a list
    assert version(store) == 9
    store.told(pod(11))
    assert version(store) == 11


def test_an_answer_that_comes_late_brings_nothing_old_back() -> None:
    store = Store()
    store.replace([], 1)
    store.told(pod(5))
    store.told(pod(8), gone=True)
    store.heard(pod(5))
    assert version(store) is None
    store.told_up_to(20)
    store.heard(pod(15))
    assert version(store) is None


def test_of_two_that_come_another_way_the_newer_counts_in_whatever_order() -> None:
    store = Store()
    store.replace([pod(1)], 4)
    store.heard(pod(9))
    store.heard(pod(7))
    assert version(store) == 9


def test_what_loses_a_label_is_no_longer_of_the_collection() -> None:
    store = Store({"engine": "true", "role": None})
    store.heard(pod(1, role="x"))
    store.heard(pod(2, "b"))
    assert (version(store), version(store, "b")) == (1, None)
    store.heard(pod(3))
    assert version(store) is None


def test_selects_by_namespace_and_labels_in_the_order_of_names() -> None:
    store = Store()
    store.replace(
        [pod(1, "b", tier="x"), pod(2, "a", tier="x"), pod(3, "c", tier="y"), pod(4, "a", "other", tier="x")],
        4,
    )

    def names(namespace: str | None, **labels: str) -> list[str]:
        return [item["metadata"]["name"] for item in store.select(namespace, labels)]

    assert names("ns", tier="x") == ["a", "b"]
    assert names(None, tier="x") == ["a", "b", "a"]
    assert names("ns", tier="x", engine="false") == []


class Api:
    """Objects as the API server has them, with the watch that lags behind and the answers to writes."""

    def __init__(self) -> None:
        self.version = 0
        self.objects: dict[str, Object] = {}
        self.untold: list[tuple[Object, bool]] = []

    def write(self, name: str) -> Object:
        self.version += 1
        item = self.objects[name] = pod(self.version, name)
        self.untold.append((item, False))
        return item

    def delete(self, name: str) -> None:
        if name in self.objects:
            self.version += 1
            del self.objects[name]
            self.untold.append((pod(self.version, name), True))


@given(
    st.lists(st.tuples(st.sampled_from(["own", "other", "delete", "tell", "list"]), st.sampled_from("ab")))
)
def test_in_whatever_order_the_end_is_what_the_api_server_has(steps: list[tuple[str, str]]) -> None:
    api, store = Api(), Store()
    for step, name in steps:
        if step == "own":
            written = api.write(name)
            store.heard(written)
            assert version(store, name) == api.version
        elif step == "other":
            api.write(name)
        elif step == "delete":
            api.delete(name)
        elif step == "tell" and api.untold:
            item, gone = api.untold.pop(0)
            store.told(item, gone=gone)
        elif step == "list":  # the watch begins anew from here
            store.replace(list(api.objects.values()), api.version)
            api.untold.clear()
    for item, gone in api.untold:
        store.told(item, gone=gone)
    assert {name: version(store, name) for name in "ab"} == {
        name: int(api.objects[name]["metadata"]["resourceVersion"]) if name in api.objects else None
        for name in "ab"
    }

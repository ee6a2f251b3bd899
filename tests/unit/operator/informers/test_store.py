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


def test_what_is_indexed_is_found_as_by_a_look_at_all() -> None:
    stores = [Store(), Store(indexed="of")]
    for store in stores:
        store.replace([pod(1, of="x"), pod(2, "b", of="y"), pod(3, "c", "other", of="x"), pod(4, "d")], 4)
        store.told(pod(5, "e", of="x"))
        store.told(pod(6, "b", of="x"))  # moves
        store.told(pod(7, "a", of="x"), gone=True)
        store.heard(pod(8, "f", of="y"))
        store.replace([pod(9, "e", of="y"), pod(6, "b", of="x"), pod(8, "f", of="y")], 9)
    questions: list[tuple[str | None, dict[str, str]]] = [
        (namespace, labels)
        for namespace in (None, "ns", "other", "none")
        for labels in ({}, {"of": "x"}, {"of": "y"}, {"of": "z"}, {"of": "y", "engine": "true"})
    ]
    plain, indexed = ([store.select(*asked) for asked in questions] for store in stores)
    assert plain == indexed
    assert any(plain)


def test_what_a_watch_tells_is_a_change_if_more_than_the_version_is_new() -> None:
    store = Store()
    assert store.told(pod(1))
    assert not store.told(pod(1))
    assert not store.told(pod(2))
    assert store.told(pod(3, role="x"))
    store.heard(pod(5, role="y"))
    assert not store.told(pod(5, role="y"))  # this process wrote it
    assert not store.told(pod(4, role="z"))
    assert store.told(pod(6, role="y"), gone=True)
    assert not store.told(pod(7, role="y"), gone=True)


def test_a_list_tells_what_it_changed() -> None:
    store = Store()
    assert len(store.replace([pod(1), pod(2, "b"), pod(3, "c")], 3)) == 3
    changed = store.replace([pod(1), pod(4, "b", role="x"), pod(5, "d")], 5)
    assert [item["metadata"]["name"] for item in changed] == ["c", "b", "d"]
    assert store.replace([pod(1), pod(4, "b", role="x"), pod(5, "d")], 9) == []


def test_an_object_stays_the_same_one_until_another_version_comes() -> None:
    store = Store()
    store.replace([pod(1)], 1)
    kept = store.get("ns", "a")
    store.replace([pod(1)], 2)
    store.told(pod(1))
    assert store.get("ns", "a") is kept
    store.told(pod(3))
    assert store.get("ns", "a") is not kept

"""The Secret with the operator's control keys, on a real API server: made once, and never taken over."""

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from indexcache_operator import control_keys, names
from indexcache_operator.control_keys import ControlKeys, NoKey, follow, opened
from indexcache_operator.kube import Kube, NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    made.mkdir()
    return made


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_keys, "WAIT_SECONDS", 1.0)
    monkeypatch.setattr(control_keys, "FOLLOW_SECONDS", 0.02)


@contextlib.contextmanager
def following(kube: Kube, keys: ControlKeys, secret: tuple[str, str]) -> Iterator[None]:
    task = asyncio.create_task(follow(kube, keys, secret))
    try:
        yield
    finally:
        task.cancel()


async def stored(kube: Kube, secret: tuple[str, str]) -> dict[str, bytes]:
    found = await kube.get(names.object_path("api/v1", "secrets", *secret))
    return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}


async def test_where_there_is_no_key_one_is_made_and_used_at_once(
    kube: Kube, namespace: str, folder: Path
) -> None:
    keys = await opened(kube, folder, (namespace, "keys"))
    assert len(keys.current()) == 1
    assert await stored(kube, (namespace, "keys")) == keys.current()


async def test_where_there_is_one_none_is_made(kube: Kube, namespace: str, folder: Path) -> None:
    (folder / "mine").write_text("m" * 32)
    keys = await opened(kube, folder, (namespace, "keys"))
    assert keys.current() == {"mine": b"m" * 32}
    with pytest.raises(NotFound):
        await stored(kube, (namespace, "keys"))


async def test_one_that_is_there_is_waited_for_and_never_replaced(
    kube: Kube, namespace: str, folder: Path
) -> None:
    secret = (namespace, "keys")
    assert await control_keys.create(kube, secret, {"1": b"k" * 32})
    with pytest.raises(NoKey, match=f"Secret {namespace}/keys is there; expected a key in it"):
        await opened(kube, folder, secret)
    waiting = asyncio.create_task(opened(kube, folder, secret))
    (folder / "1").write_bytes((await stored(kube, secret))["1"])
    assert (await waiting).current() == {"1": b"k" * 32}
    assert await stored(kube, secret) == {"1": b"k" * 32}


async def test_a_secret_that_cant_be_made_is_named(kube: Kube, folder: Path) -> None:
    with pytest.raises(NoKey, match=r"Secret no-such-namespace/keys .* can't be made: .*not found"):
        await opened(kube, folder, ("no-such-namespace", "keys"))


async def test_a_secret_that_is_lost_comes_back_with_the_keys_that_it_had(
    kube: Kube, namespace: str, folder: Path
) -> None:
    secret = (namespace, "keys")
    for name in ("1", "2"):
        (folder / name).write_text(name * 32)
    keys = await opened(kube, folder, secret)
    with following(kube, keys, secret):
        for name in ("1", "2"):
            (folder / name).unlink()  # as the kubelet does where an optional Secret is deleted
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(NotFound):
                    assert await stored(kube, secret) == {"1": b"1" * 32, "2": b"2" * 32}
                    break
                await asyncio.sleep(0.02)
    assert keys.current().keys() == {"1", "2"}


async def test_a_key_that_is_added_is_taken_while_it_runs(kube: Kube, namespace: str, folder: Path) -> None:
    (folder / "1").write_text("1" * 32)
    keys = await opened(kube, folder, (namespace, "keys"))
    with following(kube, keys, (namespace, "keys")):
        (folder / "2").write_text("2" * 32)
        async with asyncio.timeout(60):
            while "2" not in keys.current():  # noqa: ASYNC110 (the files are what is followed)
                await asyncio.sleep(0.02)

"""The token and the port, from the environment; and a token that changes while the engine runs."""

import logging
import os
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.probe_ids import is_probe, probe_request_id
from indexcache_runtime.access import (
    MAX_OLD,
    MAX_TOKEN_BYTES,
    OLD_TOKEN_SECONDS,
    Credentials,
    NoToken,
    bearer,
    port,
)
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.server import serve
from indexcache_runtime.engine import Capabilities

BAD = {
    "empty": b"\n",
    "no text": b"\xff\xfe",
    "two lines": b"a\nb",
    "two words": b"a b",
    "a null": b"a\0b",
    "endless": b"x" * (MAX_TOKEN_BYTES + 1),
}


class Clock:
    """A clock that is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Secret:
    """A Secret as a kubelet mounts it: a file that is a link into a folder, which another folder replaces."""

    def __init__(self, root: Path, content: bytes) -> None:
        self._root, self._version = root, 0
        self.file = root / "token"
        self.put(content)
        self.file.symlink_to("..data/token")

    def put(self, content: bytes) -> None:
        """Replace it."""
        self._version += 1
        folder = self._root / f"..{self._version}"
        folder.mkdir()
        (folder / "token").write_bytes(content)
        new = self._root / "..data_tmp"
        new.symlink_to(folder.name)
        new.replace(self._root / "..data")

    def take_away(self) -> None:
        """Leave the link without a file."""
        (self._root / "..data" / "token").unlink()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    return Secret(tmp_path, b"one\n")


@pytest.fixture
def credentials(secret: Secret, clock: Clock) -> Credentials:
    return Credentials.from_environment({"INDEXCACHE_TOKEN_FILE": str(secret.file)}, clock)


def test_the_token_is_read_from_its_file(credentials: Credentials, tmp_path: Path) -> None:
    assert credentials.tokens == ("one",)
    with pytest.raises(NoToken, match="No such file"):
        Credentials.from_environment({"INDEXCACHE_TOKEN_FILE": str(tmp_path / "none")})
    with pytest.raises(NoToken, match="Is a directory"):
        Credentials.from_environment({"INDEXCACHE_TOKEN_FILE": str(tmp_path)})
    with pytest.raises(NoToken, match="not set"):
        Credentials.from_environment({})


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_what_is_no_token_is_refused_at_start(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(NoToken, match="put the control token there"):
        Credentials.from_environment({"INDEXCACHE_TOKEN_FILE": str(Secret(tmp_path, content).file)})


@pytest.mark.parametrize("content", [b"two", b"two\n", b"  two\r\n"])
def test_both_tokens_are_valid_for_a_while_after_a_change(
    credentials: Credentials, secret: Secret, clock: Clock, content: bytes
) -> None:
    secret.put(content)
    assert credentials.admits(b"Bearer two")
    assert credentials.tokens == ("two", "one")
    clock.now += OLD_TOKEN_SECONDS - 1
    assert credentials.admits(b"Bearer one")
    clock.now += 1
    assert not credentials.admits(b"Bearer one")
    assert credentials.admits(b"Bearer two")


def test_a_file_that_is_written_in_place_is_read_anew(credentials: Credentials, secret: Secret) -> None:
    secret.file.write_bytes(b"two")
    assert credentials.admits(b"Bearer two")


def test_the_same_token_again_changes_nothing(credentials: Credentials, secret: Secret) -> None:
    secret.put(b"one")
    assert credentials.admits(b"Bearer one")
    assert credentials.tokens == ("one",)


def test_a_change_back_leaves_two(credentials: Credentials, secret: Secret, clock: Clock) -> None:
    for token in (b"two", b"one", b"two"):
        secret.put(token)
        credentials.refresh()
        clock.now += 1
    assert credentials.tokens == ("two", "one")


def test_not_all_tokens_that_ever_were_are_kept(credentials: Credentials, secret: Secret) -> None:
    for i in range(50):
        secret.put(b"%d" % i)
        credentials.refresh()
    assert credentials.tokens == tuple(str(49 - i) for i in range(MAX_OLD + 1))


@pytest.mark.parametrize("content", [*BAD.values(), None], ids=[*BAD.keys(), "gone"])
def test_a_file_that_goes_bad_takes_nothing_away(
    credentials: Credentials,
    secret: Secret,
    clock: Clock,
    content: bytes | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    if content is None:
        secret.take_away()
    else:
        secret.put(content)
    for _ in range(3):
        clock.now += OLD_TOKEN_SECONDS
        assert credentials.admits(b"Bearer one")
    assert credentials.problem is not None
    assert len(caplog.records) == 1
    assert str(secret.file) in caplog.text
    secret.put(b"two")
    assert credentials.admits(b"Bearer two")
    assert credentials.problem is None


def test_a_file_that_may_not_be_read_takes_nothing_away(
    credentials: Credentials, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*args: object, **kwargs: object) -> object:
        raise PermissionError(13, os.strerror(13))

    secret.put(b"two")
    with monkeypatch.context() as m:
        m.setattr(Path, "open", denied)
        assert credentials.admits(b"Bearer one")
        assert "Permission denied" in (credentials.problem or "")
    assert credentials.admits(b"Bearer two")


@given(st.binary(max_size=50))
def test_any_bytes_may_be_shown(authorization: bytes) -> None:
    token = "é\ud800"
    credentials = Credentials(token)
    assert credentials.admits(authorization) is (authorization == bearer(token))
    assert credentials.admits(bearer(token))


def test_a_port_follows_its_token(credentials: Credentials, secret: Secret, clock: Clock) -> None:
    server, number = serve(EngineControl(Capabilities("m")), credentials, 0)
    with httpx.Client(base_url=f"http://127.0.0.1:{number}") as client:

        def status(token: str) -> int:
            return client.get("/v1/state", headers={"Authorization": f"Bearer {token}"}).status_code

        assert (status("one"), status("two")) == (200, 401)
        secret.put(b"two\n")
        assert (status("two"), status("one")) == (200, 200)
        secret.put(b"\xff")
        clock.now += OLD_TOKEN_SECONDS
        assert (status("two"), status("one")) == (200, 401)
    server.stop()


def test_probes_by_an_old_token_are_known_for_a_while(credentials: Credentials, secret: Secret) -> None:
    secret.put(b"two")
    credentials.refresh()
    assert any(is_probe(probe_request_id("one", "n"), token) for token in credentials.tokens)


def test_the_port() -> None:
    assert port({}) == 9470
    assert port({"INDEXCACHE_CONTROL_PORT": "1234"}) == 1234
    for wrong in ("", "x", "-1", "70000"):
        with pytest.raises(ValueError, match="INDEXCACHE_CONTROL_PORT"):
            port({"INDEXCACHE_CONTROL_PORT": wrong})

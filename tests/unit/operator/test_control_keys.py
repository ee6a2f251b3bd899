"""Control keys out of their files: followed, and never lost by what is wrong with a file."""

import os
from pathlib import Path

import pytest
from indexcache_operator.control_keys import LONGEST, SHORTEST, ControlKeys

ONE, TWO = "1" * SHORTEST, "2" * SHORTEST


class Mount:
    """A folder as the kubelet makes it of a Secret: files are links into a folder that is swapped."""

    def __init__(self, root: Path) -> None:
        self.root, self._count = root, 0
        self.put({})

    def put(self, files: dict[str, bytes]) -> None:
        self._count += 1
        fresh = self.root / f"..{self._count}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        (link := self.root / "..next").symlink_to(fresh.name)
        os.replace(link, self.root / "..data")
        for path in self.root.iterdir():
            if not path.name.startswith("."):
                path.unlink()
        for name in files:
            (self.root / name).symlink_to(f"..data/{name}")


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path)


@pytest.fixture
def keys(mount: Mount) -> ControlKeys:
    mount.put({"1": ONE.encode()})
    found = ControlKeys(mount.root)
    found.refresh()
    return found


def test_a_file_is_a_key_and_its_name_the_id(mount: Mount) -> None:
    mount.put({"2026-01-01": ONE.encode(), "2026-02-01": TWO.encode() + b"\n"})
    found = ControlKeys(mount.root)
    found.refresh()
    assert found.current() == {"2026-01-01": ONE.encode(), "2026-02-01": TWO.encode()}


@pytest.mark.parametrize("after", [b"\n", b"\r\n", b" \n\n", b""])
def test_blanks_around_a_key_are_no_part_of_it(mount: Mount, keys: ControlKeys, after: bytes) -> None:
    mount.put({"1": ONE.encode() + after})
    keys.refresh()
    assert keys.current() == {"1": ONE.encode()}


def test_another_key_is_taken_and_one_that_was_removed_goes(mount: Mount, keys: ControlKeys) -> None:
    mount.put({"1": ONE.encode(), "2": TWO.encode()})
    keys.refresh()
    assert keys.current().keys() == {"1", "2"}
    mount.put({"2": TWO.encode()})
    keys.refresh()
    assert keys.current().keys() == {"2"}


BAD = {
    b"": "found 0 bytes",
    b"\n": "0 characters",
    b"short": "expected 32 to 4096",
    b"\xff" * SHORTEST: "not UTF-8",
    b"x" * (LONGEST + 1): "expected 32 to 4096",
}


@pytest.mark.parametrize("content", BAD)
def test_what_is_no_key_takes_none_away_and_is_told_once(
    mount: Mount, keys: ControlKeys, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    mount.put({"1": content, "2": content})
    for _ in range(3):
        keys.refresh()
    assert keys.current() == {"1": ONE.encode()}
    told = [record.getMessage() for record in caplog.records]
    assert [Path(message.partition(":")[0]).name for message in told] == ["1", "2"]
    assert all(BAD[content] in message and "openssl rand" in message for message in told)
    assert "as it was before" in told[0]
    assert "not used" in told[1]


def test_a_name_that_is_no_id_is_told(
    mount: Mount, keys: ControlKeys, caplog: pytest.LogCaptureFixture
) -> None:
    mount.put({"1": ONE.encode(), "a b": TWO.encode()})
    keys.refresh()
    assert keys.current().keys() == {"1"}
    assert "no key's id" in caplog.text


def test_another_key_under_an_old_id_waits_for_a_restart(
    mount: Mount, keys: ControlKeys, caplog: pytest.LogCaptureFixture
) -> None:
    mount.put({"1": TWO.encode()})
    keys.refresh()
    assert keys.current() == {"1": ONE.encode()}
    assert "another key than before" in caplog.text


def test_files_that_are_all_gone_take_nothing_away(
    mount: Mount, keys: ControlKeys, caplog: pytest.LogCaptureFixture
) -> None:
    assert not keys.lost
    mount.put({})
    keys.refresh()
    assert keys.current() == {"1": ONE.encode()}
    assert keys.lost
    assert "holds no key any more" in caplog.text


def test_a_key_just_made_is_used_until_it_is_mounted(mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    keys = ControlKeys(mount.root)
    keys.take({"1": ONE.encode()})
    keys.refresh()
    assert keys.current() == {"1": ONE.encode()}
    assert not keys.lost
    assert caplog.text == ""


def test_a_folder_that_isnt_there_holds_no_key(tmp_path: Path) -> None:
    keys = ControlKeys(tmp_path / "none")
    keys.refresh()
    assert keys.current() == {}

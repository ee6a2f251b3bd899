"""Tests what tells one checkpoint from another."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_runtime.vllm.engine_core import checkpoint
from indexcache_runtime.vllm.engine_core.checkpoint import HEAD_BYTES, SAMPLE_BYTES, SECONDS, fingerprint

SIZE = 4 * 1024 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a checkpoint of two files of weights."""
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["DeepseekV32ForCausalLM"]}))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "1"}}))
    for number in (1, 2):
        (tmp_path / f"model-{number}.safetensors").write_bytes(bytes([number]) * SIZE)
    return tmp_path


def overwrite(path: Path, place: int, content: bytes = b"\xff") -> None:
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        file.write(content)


CHANGES: dict[str, Callable[[Path], object]] = {
    "config": lambda f: (f / "config.json").write_text("{}"),
    "index": lambda f: (f / "model.safetensors.index.json").write_text("{}"),
    "no index": lambda f: (f / "model.safetensors.index.json").unlink(),
    "quantization": lambda f: (f / "hf_quant_config.json").write_text("{}"),
    "name": lambda f: (f / "model-2.safetensors").rename(f / "model-3.safetensors"),
    "one more": lambda f: (f / "model-3.safetensors").write_bytes(b""),
    "one less": lambda f: (f / "model-2.safetensors").unlink(),
    "size": lambda f: (f / "model-2.safetensors").write_bytes(b"\x02" * (SIZE + 1)),
    "header": lambda f: overwrite(f / "model-2.safetensors", HEAD_BYTES - 1),
    "the last weights": lambda f: overwrite(f / "model-1.safetensors", -1),
    "weights in the middle": lambda f: overwrite(f / "model-1.safetensors", SIZE // 2 - SAMPLE_BYTES),
    "all weights": lambda f: overwrite(f / "model-1.safetensors", HEAD_BYTES, b"\x03" * (SIZE - HEAD_BYTES)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_checkpoint_has_another(folder: Path, change: str) -> None:
    before = fingerprint(folder)
    assert len(before) == 16
    CHANGES[change](folder)
    assert fingerprint(folder) != before


def test_the_same_elsewhere_has_the_same(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("copy")
    for path in folder.iterdir():
        (elsewhere / path.name).write_bytes(path.read_bytes())
    (elsewhere / "README.md").write_text("not weights")
    assert fingerprint(elsewhere) == fingerprint(folder)


def test_of_700_gb_little_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file of the size of a shard: read whole, it would be noticed."""
    for number in range(1, 141):
        path = folder / f"model-{number}.safetensors"
        path.touch()
        os.truncate(path, 5 * 1024**3)
    read = 0
    add = checkpoint._add

    def counting(found: Any, name: str, content: bytes) -> None:
        nonlocal read
        read += len(content)
        add(found, name, content)

    monkeypatch.setattr(checkpoint, "_add", counting)
    fingerprint(folder)
    assert read < 140 * 128 * 1024


def test_small_files_are_read_whole(tmp_path: Path) -> None:
    for content in (b"", b"a", b"b"):
        (tmp_path / "model.safetensors").write_bytes(content)
        found = fingerprint(tmp_path)
        (tmp_path / "model.safetensors").write_bytes(content + b"c")
        assert fingerprint(tmp_path) != found


def test_slow_storage_holds_no_engine_up(folder: Path) -> None:
    times = iter([0.0, *[SECONDS + 1] * 99])
    with pytest.raises(checkpoint.TooSlow, match="more than 20 s"):
        fingerprint(folder, clock=lambda: next(times))


def config(model: str) -> Any:
    return SimpleNamespace(
        model_config=SimpleNamespace(model=model, revision=None),
        load_config=SimpleNamespace(download_dir=None),
    )


def test_an_engine_says_that_of_its_folder(folder: Path) -> None:
    assert checkpoint.of_engine(config(str(folder))) == fingerprint(folder)


@pytest.mark.parametrize("given", [config("no/such model"), None, SimpleNamespace()])
def test_what_cant_be_told_is_not_said_and_fails_nothing(
    given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert checkpoint.of_engine(given) == ""
    assert "can't tell this checkpoint from another" in caplog.text


def test_a_folder_without_weights_is_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert checkpoint.of_engine(config(str(tmp_path))) == ""
    assert "no *.safetensors" in caplog.text

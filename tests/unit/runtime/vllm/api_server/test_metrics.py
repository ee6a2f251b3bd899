"""The API server's poller against a real control port."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from indexcache_core.contract import Mode
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.server import serve
from indexcache_runtime.engine import Capabilities
from indexcache_runtime.vllm.api_server.metrics import Poller, StateCollector
from prometheus_client import CollectorRegistry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "token"
    found.write_text("one")
    return found


@pytest.fixture
def number(file: Path) -> Iterator[int]:
    server, number = serve(
        EngineControl(Capabilities("m")),
        Credentials.from_environment({"INDEXCACHE_TOKEN_FILE": str(file)}),
        0,
    )
    yield number
    server.stop()


def test_it_goes_on_when_the_token_changes_and_shows_a_file_that_cannot_be_read(
    file: Path, number: int
) -> None:
    collector = StateCollector()
    registry = CollectorRegistry()
    registry.register(collector)
    poller = Poller(collector, number, Credentials.from_environment({"INDEXCACHE_TOKEN_FILE": str(file)}))
    for content, readable in ((b"one", 1.0), (b"two", 1.0), (b"\xff", 0.0), (b"three", 1.0)):
        file.write_bytes(content)
        assert poller.read().mode is Mode.OFF
        assert registry.get_sample_value("indexcache_token_readable") == readable

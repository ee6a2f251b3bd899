"""The token and the port, from the environment; and the server over a real socket."""

from pathlib import Path

import httpx
import pytest
from indexcache_runtime.access import NoToken, port, read_token
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.server import serve
from indexcache_runtime.engine import Capabilities


def test_the_token_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n")
    assert read_token({"INDEXCACHE_TOKEN_FILE": str(file)}) == "secret"
    file.write_text("\n")
    with pytest.raises(NoToken, match="empty"):
        read_token({"INDEXCACHE_TOKEN_FILE": str(file)})
    with pytest.raises(NoToken, match="No such file"):
        read_token({"INDEXCACHE_TOKEN_FILE": str(tmp_path / "none")})
    with pytest.raises(NoToken, match="not set"):
        read_token({})


def test_the_port() -> None:
    assert port({}) == 9470
    assert port({"INDEXCACHE_CONTROL_PORT": "1234"}) == 1234
    for wrong in ("", "x", "-1", "70000"):
        with pytest.raises(ValueError, match="INDEXCACHE_CONTROL_PORT"):
            port({"INDEXCACHE_CONTROL_PORT": wrong})


def test_serves_over_a_socket_and_names_a_taken_port() -> None:
    server, number = serve(EngineControl(Capabilities("m")), "t", 0)
    try:
        with pytest.raises(OSError, match=str(number)):
            serve(EngineControl(Capabilities("m")), "t", number)
        answer = httpx.get(f"http://127.0.0.1:{number}/v1/state", headers={"Authorization": "Bearer t"})
        assert answer.status_code == 200
        assert httpx.get(f"http://127.0.0.1:{number}/v1/state").status_code == 401
    finally:
        server.should_exit = True

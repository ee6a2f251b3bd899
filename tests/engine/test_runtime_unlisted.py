"""A VLLM_PLUGINS that does not name indexcache: vLLM as it is, though our packages lie on its path."""

from pathlib import Path

import httpx
import pytest
from indexcache_testbed.model import questions

from tests.engine.served import ROOT, serving

pytestmark = pytest.mark.engine


def test_nothing_of_ours_runs(tmp_path: Path) -> None:
    args = ["--tokenizer-mode", "hf", "--distributed-executor-backend", "uni"]
    with serving(tmp_path, ROOT / "testbed/models/tiny_dsa", args, {"VLLM_PLUGINS": "dsa_cpu"}) as server:
        body = {
            "model": "m",
            "prompt": questions.ask(16, seed=1, index=0).prompt,
            "max_tokens": 1,
            "temperature": 0,
        }
        answer = server.users.post("/v1/completions", json=body).raise_for_status()
        assert not [name for name in answer.headers if name.startswith("x-indexcache")]
        assert server.metrics() == {}
        with pytest.raises(httpx.ConnectError):
            server.control.get("/v1/state")
        assert "indexcache: " not in server.log.read_text()  # how every line of ours begins

"""An engine is configured as it was asked for, on a CPU with AMX as on one without it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dsa_cpu import random_model

pytestmark = pytest.mark.engine


def test_what_was_asked_holds_whatever_the_cpu(tmp_path: Path) -> None:
    random_model.write(tmp_path / "model", "DeepseekV32ForCausalLM", seed=0)
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.platform_config", str(tmp_path / "model")],
        env=os.environ | {"VLLM_PLUGINS": "dsa_cpu"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    found = json.loads(done.stdout.splitlines()[-1])
    always = {"enable_prefix_caching": True, "enable_chunked_prefill": True, "max_num_batched_tokens": 160}
    sizes = {"default": 16, "16": 16, "128": 128}
    expected = {asked: {"block_size": size, **always} for asked, size in sizes.items()}
    assert found == {"amx": expected, "plain": expected}

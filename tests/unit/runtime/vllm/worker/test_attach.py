"""Tests what becomes of a worker whose model the runtime can't take charge of."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_runtime.vllm.worker import attach as attaching
from indexcache_runtime.vllm.worker.architecture import Architecture, Unfit


class Broken:
    """A model."""


def attach(monkeypatch: pytest.MonkeyPatch, error: Exception) -> tuple[dict[str, Any], Any]:
    """Return what a worker answers whose adapter can't be built for this error; and the worker."""

    def build(model: Any, runner: Any) -> Any:
        raise error

    known = Architecture("broken", "cpu", ("Broken",), build)
    monkeypatch.setattr(attaching, "ARCHITECTURES", (known,))
    config = SimpleNamespace(model_config=SimpleNamespace(architectures=["Broken"]))
    own = SimpleNamespace(execute_model="own", sample_tokens="own", vllm_config=config)
    own.worker = SimpleNamespace(model_runner=SimpleNamespace(get_model=Broken))
    return attaching.attach(own), own


def test_a_model_that_does_not_fit_is_refused_by_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, own = attach(monkeypatch, Unfit("device: too old"))
    assert answer["reasons"] == ("device: too old",)
    assert (own.execute_model, own.sample_tokens) == ("own", "own")


def test_an_error_is_a_refusal_and_the_log_has_it_whole(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("indexcache_runtime"), "propagate", True)
    answer, own = attach(monkeypatch, RuntimeError("no such kernel"))
    assert answer["reasons"][0].startswith("broken: RuntimeError: no such kernel; ")
    assert "Traceback" in caplog.text
    assert (own.execute_model, own.sample_tokens) == ("own", "own")

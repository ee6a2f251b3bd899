"""vLLM's entry point of the plugin: `register`, in every process of a vLLM server that loads general plugins.

It only makes hooks: a method that the engine core can call in its workers, wrappers around the end of the
engine core's construction and the beginning of its loop, around the making of its hasher, and one around the
API server's search for endpoint plugins. An engine core that stands is then taken charge of
(engine_core/takeover.py).

Trap: in a process of its own an engine core loads plugins from inside its constructor, too late to wrap that;
there its loop is the hook.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any

from indexcache_runtime.vllm.api_server.endpoint_loading import load_unlisted
from indexcache_runtime.vllm.api_server.opting_out import check_requests
from indexcache_runtime.vllm.carried import ATTACH
from indexcache_runtime.vllm.engine_core.hasher import wrap_where_made
from indexcache_runtime.vllm.engine_core.takeover import control_once
from indexcache_runtime.vllm.logs import log_as_vllm_does
from indexcache_runtime.vllm.worker.attach import attach

logger = logging.getLogger(__name__)
MARK = "_indexcache_registered"


def register() -> None:
    """Make the hooks, as the entry point of vllm.general_plugins. May be called again."""
    log_as_vllm_does()
    try:
        from vllm.v1.engine import core
        from vllm.v1.worker.worker_base import WorkerWrapperBase

        EngineCore = core.EngineCore
    except (ImportError, AttributeError) as e:
        logger.warning("indexcache: reuse is not supported by this vLLM, nothing is done: %s", e)
        return
    if hasattr(EngineCore, MARK):
        return
    setattr(EngineCore, MARK, True)
    wrap_where_made(core)
    load_unlisted()
    check_requests()
    setattr(WorkerWrapperBase, ATTACH, attach)
    construct = EngineCore.__init__

    @functools.wraps(construct)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        control_once(self)

    EngineCore.__init__ = init
    for process in ("EngineCoreProc", "DPEngineCoreProc"):
        _before(getattr(core, process, None), "run_busy_loop", control_once)


def _before(owner: Any, method: str, hook: Callable[[Any], None]) -> None:
    original = getattr(owner, "__dict__", {}).get(method)
    if original is None:  # inherited, and hooked there; or this vLLM has no such class
        return

    @functools.wraps(original)
    def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        hook(self)
        return original(self, *args, **kwargs)

    setattr(owner, method, hooked)

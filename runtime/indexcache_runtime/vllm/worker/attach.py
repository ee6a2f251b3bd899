"""Takes charge of a worker: `attach`, which the engine core calls once in each after the model is loaded.

Until then, and in engines that are not supported, a worker is untouched.
"""

import logging
from dataclasses import asdict
from typing import Any

from indexcache_runtime.engine import Adapter, Capabilities
from indexcache_runtime.vllm import seam
from indexcache_runtime.vllm.worker import deepseek_v32_generic
from indexcache_runtime.vllm.worker.architecture import Unfit
from indexcache_runtime.vllm.worker.cuda import build as deepseek_v32
from indexcache_runtime.vllm.worker.plan_runner import PlanRunner

logger = logging.getLogger(__name__)

ARCHITECTURES = (deepseek_v32_generic.ARCHITECTURE, deepseek_v32.ARCHITECTURE)


def attach(wrapper: Any) -> dict[str, Any]:
    """Take charge of a worker (vLLM's WorkerWrapperBase) whose model is loaded. Returns an
    engine.Capabilities as a dictionary.

    Where it has reasons, nothing was changed.
    """
    from vllm.platforms import current_platform

    if reasons := seam.missing(wrapper, seam.WORKER, "WorkerWrapperBase"):
        return asdict(Capabilities("", reasons=tuple(reasons)))
    runner = wrapper.worker.model_runner
    model = runner.get_model()
    declared = wrapper.vllm_config.model_config.architectures
    here = [a for a in ARCHITECTURES if current_platform.device_type == a.platform]
    architecture = next((a for a in here if set(a.model_classes) & {type(model).__name__, *declared}), None)
    if architecture is None:
        known = ", ".join(sorted({name for a in here for name in a.model_classes}))
        reason = (
            f"model: {', '.join(declared)} is not supported on {current_platform.device_type}; {known} are"
        )
        return asdict(Capabilities(", ".join(declared), reasons=(reason,)))
    try:
        adapter: Adapter = architecture.build(model, runner)
    except Unfit as e:
        return asdict(Capabilities(", ".join(declared), reasons=(str(e),)))
    except Exception as e:
        logger.exception("indexcache: can't take charge of this model; it is served as it is")
        reason = (
            f"{architecture.name}: {type(e).__name__}: {e}; the engine's log has its traceback; please "
            "report it"
        )
        return asdict(Capabilities(", ".join(declared), reasons=(reason,)))
    PlanRunner(wrapper, adapter).install()
    return _told(", ".join(declared), adapter)


def _told(name: str, adapter: Adapter) -> dict[str, Any]:
    capabilities = Capabilities(
        name,
        graphed_tokens=adapter.graphed_tokens,
        replayed_tokens=adapter.replayed_tokens,
        timed=adapter.timed,
        indexers=adapter.indexers,
    )
    return {**asdict(capabilities), "sites": [site.model_dump() for site in adapter.sites]}

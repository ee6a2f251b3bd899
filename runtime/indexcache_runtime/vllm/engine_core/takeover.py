"""Takes charge of an engine core once it stands: then it is known what the engine is, and whether it is
supported.

Either its steps, blocks and workers are taken charge of, or nothing is touched and the control port says why.
Without a token nothing is done at all.
"""

import logging
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from indexcache_core.contract import Indexer, Site

from indexcache_runtime.access import Credentials, NoToken, port
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.server import serve
from indexcache_runtime.engine import Capabilities
from indexcache_runtime.vllm import seam
from indexcache_runtime.vllm.carried import ATTACH
from indexcache_runtime.vllm.engine_core import checkpoint, refusals
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.hasher import vllms_own
from indexcache_runtime.vllm.engine_core.step_planner import StepPlanner

logger = logging.getLogger(__name__)
CONTROL = "_indexcache_control"


def control_once(core: Any) -> None:
    """Take charge of an engine core that stands and serve its control port, unless that was done."""
    if hasattr(core, CONTROL):
        return
    setattr(core, CONTROL, None)
    try:
        credentials, number = Credentials.from_environment(), port()
    except (NoToken, ValueError) as e:
        logger.warning("indexcache: no control port, reuse stays off: %s", e)
        core.request_block_hasher = vllms_own(core.request_block_hasher)
        return
    try:
        control = adopt(core, credentials)
        setattr(core, CONTROL, control)
        serve(control, credentials, number)
    except OSError as e:
        logger.error("indexcache: no control port, reuse stays off: %s", e)
    except Exception:  # whatever it is, the engine serves; nobody can switch reuse on without a control port
        logger.exception("indexcache: no control port, reuse stays off")


def adopt(core: Any, credentials: Credentials, *, seed: int | None = None) -> EngineControl:
    """Take charge of a vLLM EngineCore that stands, if it is supported. Returns its control either way."""
    import vllm

    try:
        capabilities = _capabilities(core, vllm.__version__)
    except Exception as e:
        logger.exception("indexcache: can't take charge of this engine; it serves as vLLM made it")
        reason = (
            f"start: {type(e).__name__}: {str(e)[:400]}; the engine's log has the traceback: please report it"
        )
        capabilities = Capabilities(", ".join(core.vllm_config.model_config.architectures), reasons=(reason,))
    control = EngineControl(
        capabilities,
        engine_version=vllm.__version__,
        runtime_version=version("indexcache-runtime"),
        checkpoint=checkpoint.of_engine(core.vllm_config),
    )
    if capabilities.reasons:
        logger.warning("indexcache: reuse is not supported here: %s", "; ".join(capabilities.reasons))
        core.request_block_hasher = vllms_own(core.request_block_hasher)
        return control
    scheduler = core.scheduler
    blocks = BlockNamer(
        scheduler,
        scheduler.hash_block_size,
        lambda request: planner.probes.out(request),
        lambda doing, error: planner.fail(doing, error),
        lambda request: planner.probes.reusing(request),
        lambda request: planner.reach.beyond(request),
    )
    planner = StepPlanner(control, scheduler, blocks, credentials, seed=seed)
    planner.install(core)
    logger.info(
        "indexcache: %d indexers, k=%d, incarnation %s", len(control.sites), control.k, control.incarnation
    )
    return control


def _strange(core: Any) -> list[str]:
    """Return reasons against this vLLM: what of its engine core, or of its workers, isn't as the runtime
    needs it.
    """
    return seam.misfits(seam.imported) + seam.of_requests() + seam.missing(core, seam.CORE, "EngineCore")


def _capabilities(core: Any, vllm_version: str) -> Capabilities:
    from vllm.platforms import current_platform

    config = core.vllm_config
    architecture = ", ".join(config.model_config.architectures)
    platform = current_platform.device_type
    if reasons := refusals.of_version(vllm_version, platform) or refusals.of_config(config) or _strange(core):
        return Capabilities(architecture, reasons=tuple(reasons))
    answers = core.collective_rpc(ATTACH)
    workers = [
        Capabilities(
            a["architecture"],
            tuple(Site.model_validate(s) for s in a["sites"]),
            tuple(a["reasons"]),
            graphed_tokens=a["graphed_tokens"],
            replayed_tokens=a["replayed_tokens"],
            timed=a["timed"],
            indexers=tuple(Indexer(name) for name in a["indexers"]),
        )
        for a in answers
    ]
    unfit = next((worker for worker in workers if worker.reasons), None)
    common = tuple(i for i in Indexer if all(i in worker.indexers for worker in workers))
    return unfit or replace(workers[0], indexers=common)

"""Takes charge of an engine core once it stands: then it is known what the engine is, and whether it is supported.

Either steps, blocks and workers are taken charge of, or nothing is touched and the control port says why. Without a token nothing is done
at all.
"""

import logging
from importlib.metadata import version
from typing import Any

from indexcache_core.contract import Site

from indexcache_runtime.access import NoToken, port, read_token
from indexcache_runtime.control.engine_control import Control
from indexcache_runtime.control.server import serve
from indexcache_runtime.engine import Probe
from indexcache_runtime.vllm.carried import ATTACH
from indexcache_runtime.vllm.engine_core import refusals
from indexcache_runtime.vllm.engine_core.blocks import Blocks
from indexcache_runtime.vllm.engine_core.opted_out import opted_out
from indexcache_runtime.vllm.engine_core.step_planner import Steps

logger = logging.getLogger(__name__)
CONTROL = "_indexcache_control"


def control_once(core: Any) -> None:
    """Take charge of an engine core that stands and serve its control port, unless that was done."""
    if hasattr(core, CONTROL):
        return
    setattr(core, CONTROL, None)
    try:
        token, number = read_token(), port()
    except (NoToken, ValueError) as e:
        logger.warning("indexcache: no control port, reuse stays off: %s", e)
        return
    try:
        control = adopt(core, token)
        setattr(core, CONTROL, control)
        serve(control, token, number)
    except OSError as e:
        logger.error("indexcache: no control port, reuse stays off: %s", e)
    except Exception:  # whatever it is, the engine serves; nobody can switch reuse on without a control port
        logger.exception("indexcache: no control port, reuse stays off")


def adopt(core: Any, token: str, *, seed: int | None = None) -> Control:
    """Take charge of a vLLM EngineCore that stands, if it is supported. Returns its control either way."""
    import vllm

    try:
        probe = _probe(core, vllm.__version__)
    except Exception as e:
        logger.exception("indexcache: can't take charge of this engine; it serves as vLLM made it")
        reason = f"start: {type(e).__name__}: {str(e)[:400]}; the engine's log has the traceback: please report it"
        probe = Probe(", ".join(core.vllm_config.model_config.architectures), reasons=(reason,))
    control = Control(probe, engine_version=vllm.__version__, runtime_version=version("indexcache-runtime"))
    if probe.reasons:
        logger.warning("indexcache: reuse is not supported here: %s", "; ".join(probe.reasons))
        return control
    scheduler = core.scheduler
    blocks = Blocks(scheduler, scheduler.hash_block_size, opted_out, lambda doing, error: steps.fail(doing, error))
    steps = Steps(control, scheduler, blocks, token, seed=seed)
    steps.install(core)
    logger.info("indexcache: %d indexers, k=%d, incarnation %s", len(control.sites), control.k, control.incarnation)
    return control


def _probe(core: Any, found: str) -> Probe:
    from vllm.platforms import current_platform

    config = core.vllm_config
    architecture = ", ".join(config.model_config.architectures)
    platform = current_platform.device_type
    if reasons := refusals.of_version(found, platform) or refusals.of_config(config):
        return Probe(architecture, reasons=tuple(reasons))
    answers = core.collective_rpc(ATTACH)
    probes = [
        Probe(
            a["architecture"],
            tuple(Site.model_validate(s) for s in a["sites"]),
            tuple(a["reasons"]),
            graphed_tokens=a["graphed_tokens"],
            replayed_tokens=a["replayed_tokens"],
            timed=a["timed"],
        )
        for a in answers
    ]
    return next((p for p in probes if p.reasons), probes[0])

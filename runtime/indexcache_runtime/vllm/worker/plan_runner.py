"""Sets the model's sites to what came with a step, and sends back what was measured with the step's output.

Measurements ride on vLLM's own ModelRunnerOutput, so no further message is needed, whatever the executor;
ranks other than the one whose output is read drop theirs.

Whatever fails in the adapter puts the model back as vLLM made it, for good, and rides on an output as well:
the step and all after it run all Full. Only where the model can't be put back is that raised: what it would
compute then is neither.
"""

import contextlib
import functools
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from indexcache_runtime.engine import Adapter, Pending
from indexcache_runtime.vllm.carried import FAILED, MEASURED, PLAN

logger = logging.getLogger(__name__)


class PlanRunner:
    """Carries out each step's plan in one worker."""

    def __init__(self, wrapper: Any, adapter: Adapter) -> None:
        self._wrapper, self._adapter = wrapper, adapter
        self._execute, self._sample = wrapper.execute_model, wrapper.sample_tokens
        self._lock = adapter.lock
        self._active = False
        self._gave_up = False
        self._untold: str | None = None
        """What failed, until an output carries it."""

    def install(self) -> None:
        """Put this between vLLM's executor and its worker."""
        self._wrapper.execute_model, self._wrapper.sample_tokens = self.execute_model, self.sample_tokens

    def execute_model(self, scheduler_output: Any) -> Any:
        """Stand in for the worker's own."""
        plan = getattr(scheduler_output, PLAN, None)
        if plan is not None or self._active:
            self._guarded(self._adapter.begin, plan)
            self._active = plan is not None and not self._gave_up
        output = self._execute(scheduler_output)
        if self._active:
            self._guarded(self._adapter.ran)
        return output if output is None else self._with_measurements(output)

    def sample_tokens(self, grammar_output: Any) -> Any:
        """Stand in for the worker's own: vLLM calls it after `execute_model` returned None."""
        return self._with_measurements(self._sample(grammar_output))

    def _with_measurements(self, output: Any) -> Any:
        pending = self._guarded(self._adapter.take) if self._active else None
        failed, self._untold = self._untold, None
        if hasattr(output, "get_output"):
            if pending is not None or failed is not None or self._lock is not None:
                output.get_output = functools.partial(
                    _awaited, output.get_output, pending, failed, self._lock
                )
        else:
            _carry(output, pending, failed)
        return output

    def _guarded(self, do: Callable[..., Any], *args: Any) -> Any:
        """Call the adapter. Returns None where it failed, or did before. Raises what `restore` does."""
        if self._gave_up:
            return None
        try:
            return do(*args)
        except Exception as e:
            logger.exception("indexcache: the model is put back as vLLM made it")
            self._gave_up, self._active, self._untold = True, False, f"{type(e).__name__}: {e}"
            self._adapter.restore()
            return None


def _awaited(
    get_output: Callable[[], Any],
    pending: Pending | None,
    failed: str | None,
    lock: AbstractContextManager[Any] | None,
) -> Any:
    """Stand in for an asynchronous output's get_output: with what was measured, and under a lock where there
    is one."""
    with lock or contextlib.nullcontext():
        return _carry(get_output(), pending, failed)


def _carry(output: Any, pending: Pending | None, failed: str | None) -> Any:
    """Put on an output what was measured, or what failed. Returns it."""
    if pending is not None:
        try:
            setattr(output, MEASURED, pending())
        except Exception as e:  # read by the engine core, which stops reuse
            logger.exception("indexcache: what was measured can't be read")
            failed = f"{type(e).__name__}: {e}"
    if failed is not None:
        setattr(output, FAILED, failed)
    return output

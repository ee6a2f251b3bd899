"""The worker's side: sets the model's sites to what came with the step, and sends back what was measured with the step's output.

Installed on one worker's instance by `attach`, which the engine core calls once after the model is loaded; until then, and in engines that
are not supported, a worker is untouched. Measurements ride on vLLM's own ModelRunnerOutput, so no further message is needed, whatever
the executor; ranks other than the one whose output is read drop theirs.
"""

from dataclasses import asdict
from typing import Any

from indexcache_runtime.engine import Adapter, Probe
from indexcache_runtime.vllm.architectures import deepseek_v32_generic
from indexcache_runtime.vllm.steps import MEASURED, PLAN

METHOD = "indexcache_attach"
"""The worker's method, by which the engine core calls `attach` in every worker."""

ARCHITECTURES = (deepseek_v32_generic,)


def attach(wrapper: Any) -> dict[str, Any]:
    """Take charge of a worker (vLLM's WorkerWrapperBase) whose model is loaded. Returns an engine.Probe as a dictionary.

    Where the probe has reasons, nothing was changed.
    """
    runner = wrapper.worker.model_runner
    model = runner.get_model()
    name = type(model).__name__
    declared = wrapper.vllm_config.model_config.architectures
    architecture = next((a for a in ARCHITECTURES if set(a.NAMES) & {name, *declared}), None)
    if architecture is None:
        return asdict(Probe(", ".join(declared), reasons=(f"model: {', '.join(declared)} is not supported; {_known()} are",)))
    try:
        adapter = architecture.build(model, lambda: runner.input_batch.req_ids)
    except architecture.Unfit as e:
        return asdict(Probe(", ".join(declared), reasons=(str(e),)))
    Worker(wrapper, adapter).install()
    return {**asdict(Probe(", ".join(declared))), "sites": [site.model_dump() for site in adapter.sites]}


def _known() -> str:
    return ", ".join(name for a in ARCHITECTURES for name in a.NAMES)


class Worker:
    """One worker."""

    def __init__(self, wrapper: Any, adapter: Adapter) -> None:
        self._wrapper, self._adapter = wrapper, adapter
        self._execute, self._sample = wrapper.execute_model, wrapper.sample_tokens
        self._active = False

    def install(self) -> None:
        """Put this between vLLM's executor and its worker."""
        self._wrapper.execute_model, self._wrapper.sample_tokens = self.execute_model, self.sample_tokens

    def execute_model(self, scheduler_output: Any) -> Any:
        """In place of the worker's own."""
        plan = getattr(scheduler_output, PLAN, None)
        if plan is not None or self._active:
            self._adapter.begin(plan)
            self._active = plan is not None
        output = self._execute(scheduler_output)
        return self._with_measurements(output) if self._active and output is not None else output

    def sample_tokens(self, grammar_output: Any) -> Any:
        """In place of the worker's own: vLLM calls it after `execute_model` returned None."""
        output = self._sample(grammar_output)
        return self._with_measurements(output) if self._active else output

    def _with_measurements(self, output: Any) -> Any:
        measured = self._adapter.take()
        if measured is None:
            return output
        if hasattr(output, "get_output"):
            return later(output, measured)
        setattr(output, MEASURED, measured)
        return output


def later(output: Any, measured: Any) -> Any:
    """An AsyncModelRunnerOutput that carries what was measured with it."""
    from vllm.v1.outputs import AsyncModelRunnerOutput

    class Later(AsyncModelRunnerOutput):  # type: ignore[misc]
        def get_output(self) -> Any:
            out = output.get_output()
            setattr(out, MEASURED, measured)
            return out

    return Later()

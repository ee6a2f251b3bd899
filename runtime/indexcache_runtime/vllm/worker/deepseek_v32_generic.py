"""DeepSeek-V3.2's plain classes (vllm.model_executor.models.deepseek_v2), as vLLM runs them where it has no
CUDA.

A site is a layer's indexer op. The op writes the step's keys itself, in `forward_cpu`, and then calls
`select`; a site's mode is which `select` the op has: its own, or one of ours on the instance. So keys are
kept warm in every mode, and at the baseline the model is as if this module didn't exist.

The seam, which must be there: `op.select(q, weights, m)` fills rows of `op.topk_indices_buffer` (tokens, k)
int32, one buffer for all layers, so that what a Shared site reads is what the nearest site before it left
there; `op.row_scores(q, weights, m, rows)` gives index scores (rows, longest context) float32, -inf beyond a
row's context; `m.starts`, the first row of each request, and `m.position`.
"""

import re
from collections.abc import Callable
from typing import Any

import torch
from indexcache_core.contract import Indexer, Mode, Site
from indexcache_core.pattern import FULL, SHARED, leaders

from indexcache_runtime.engine import Measured, Pending, RequestOrder, SiteMode, StepPlan
from indexcache_runtime.vllm.worker.architecture import Architecture, Unfit
from indexcache_runtime.vllm.worker.failure import Failure
from indexcache_runtime.vllm.worker.overlap import compare, fresh_sets

SEAM = ("select", "row_scores", "topk_indices_buffer", "topk_tokens")


class GenericSite:
    """Switches one indexer."""

    def __init__(self, op: Any, site: Site, step: "StepMeasurement") -> None:
        self.op, self.site, self._step = op, site, step
        self._own: Callable[..., None] = type(op).select.__get__(op)

    def set(self, mode: SiteMode, *, keep: bool = False, compare_with: int | None = None) -> None:
        """Set what the site does from the next step on. A Full site may `keep` its sampled rows for those
        that would follow it, or be compared with the rows kept by the site of that index."""
        if mode is SiteMode.FULL and not keep and compare_with is None:
            self.op.__dict__.pop("select", None)
        elif mode is SiteMode.FULL:
            self.op.select = (
                self._full_kept
                if keep
                else lambda q, weights, m: self._full_compared(q, weights, m, compare_with)
            )
        else:
            self.op.select = self._shared if mode is SiteMode.SHARED else self._to_scratch

    def restore(self) -> None:
        """Put the op back as vLLM made it."""
        self.op.__dict__.pop("select", None)

    def reused(self, m: Any) -> torch.Tensor:
        """Return the sampled rows of the buffer: (rows, k) int32. At a Shared site they are its leader's."""
        chosen: torch.Tensor = self.op.topk_indices_buffer[self._step.rows(m)]
        return chosen

    def _full_kept(self, q: torch.Tensor, weights: torch.Tensor, m: Any) -> None:
        self._own(q, weights, m)
        with self._step.failure.kept():
            self._step.kept[self.site.index] = self.reused(m).clone()

    def _full_compared(self, q: torch.Tensor, weights: torch.Tensor, m: Any, leader: int | None) -> None:
        self._own(q, weights, m)
        with self._step.failure.kept():
            assert leader is not None
            scores = self.op.row_scores(q, weights, m, self._step.rows(m))
            self._step.add(self.site.index, self._step.kept[leader], self.reused(m), scores)

    def _shared(self, q: torch.Tensor, weights: torch.Tensor, m: Any) -> None:
        """Do nothing: the buffer holds the leader's choice."""

    def _to_scratch(self, q: torch.Tensor, weights: torch.Tensor, m: Any) -> None:
        with self._step.failure.kept():
            scores = self.op.row_scores(q, weights, m, self._step.rows(m))
            self._step.add(self.site.index, self.reused(m), fresh_sets(scores, self.site.k), scores)


class StepMeasurement:
    """Measures one step."""

    def __init__(self, order: RequestOrder) -> None:
        self._order = order
        self._plan: StepPlan | None = None
        self._rows: torch.Tensor | None = None
        self.kept: dict[int, torch.Tensor] = {}
        self._measured: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.failure = Failure()

    def begin(self, plan: StepPlan | None) -> None:
        """Forget the step before."""
        self._plan, self._rows = plan, None
        self.kept.clear()
        self._measured.clear()

    def rows(self, m: Any) -> torch.Tensor:
        """Return the plan's rows in this step's batch: (rows,) int64. Its requests' order is known only once
        the model runs."""
        if self._rows is None:
            assert self._plan is not None
            first = {request: m.starts[i] for i, request in enumerate(self._order())}
            starts = torch.tensor([first[row.request] for row in self._plan.rows])
            self._rows = starts + torch.tensor([row.position for row in self._plan.rows]) - m.position[starts]
        return self._rows

    def add(self, site: int, reused: torch.Tensor, fresh: torch.Tensor, scores: torch.Tensor) -> None:
        """Measure a site's sampled rows."""
        self._measured[site] = compare(reused, fresh, scores)

    def take(self) -> Measured | None:
        """Return what was measured, once. Raises what failed."""
        self.failure.check()
        if not self._measured:
            return None
        measured, self._measured = self._measured, {}
        return Measured(
            overlap={site: overlap.tolist() for site, (overlap, _) in measured.items()},
            recall={site: recall.tolist() for site, (_, recall) in measured.items()},
        )


class GenericAdapter:
    """Implements engine.Adapter."""

    graphed_tokens = replayed_tokens = 0
    timed = False
    indexers = (Indexer.NATIVE,)
    lock = None

    def __init__(self, found: list[tuple[int, Any]], order: RequestOrder) -> None:
        self._step = StepMeasurement(order)
        self._sites = [
            GenericSite(op, Site(index=i, layer=layer, domain="tokens", k=op.topk_tokens), self._step)
            for i, (layer, op) in enumerate(found)
        ]
        self._set: tuple[Mode, str, bool] | None = None

    @property
    def sites(self) -> tuple[Site, ...]:
        """Return the sites in execution order."""
        return tuple(s.site for s in self._sites)

    def begin(self, plan: StepPlan | None) -> None:
        """See engine.Adapter."""
        self._step.begin(plan)
        wanted = None if plan is None else (plan.mode, plan.pattern, bool(plan.rows))
        if wanted == self._set:
            return
        for site, letter, leader in self._letters(plan):
            if plan is None or (plan.mode is Mode.ON and letter == FULL):
                site.set(SiteMode.FULL)
            elif plan.mode is Mode.ON:
                site.set(SiteMode.FULL_TO_SCRATCH if plan.rows else SiteMode.SHARED)
            else:
                site.set(
                    SiteMode.FULL, keep=letter == FULL, compare_with=leader if letter == SHARED else None
                )
        self._set = wanted

    def ran(self) -> None:
        """See engine.Adapter. What is measured was measured by then."""

    def take(self) -> Pending | None:
        """See engine.Adapter."""
        measured = self._step.take()
        return None if measured is None else lambda: measured

    def restore(self) -> None:
        """See engine.Adapter."""
        for site in self._sites:
            site.restore()

    def _letters(self, plan: StepPlan | None) -> list[tuple[GenericSite, str, int]]:
        pattern = FULL * len(self._sites) if plan is None else plan.pattern
        return list(zip(self._sites, pattern, leaders(pattern), strict=True))


def build(model: Any, runner: Any) -> GenericAdapter:
    """Make the adapter of a loaded model and its runner. Raises Unfit."""
    found = []
    for name, module in model.named_modules():
        op = getattr(module, "indexer_op", None)
        if op is None or (numbers := re.search(r"layers\.(\d+)\.", name)) is None:
            continue
        if missing := [attribute for attribute in SEAM if not hasattr(op, attribute)]:
            raise Unfit(
                f"layer {numbers[1]}: {type(op).__name__} has no {', '.join(missing)}; only indexer ops with "
                "this seam are supported"
            )
        found.append((int(numbers[1]), op))
    if not found:
        raise Unfit(f"model: {type(model).__name__} has no indexers; reuse needs DeepSeek Sparse Attention")
    if len({op.topk_indices_buffer.data_ptr() for _, op in found}) != 1:
        raise Unfit(
            "model: its layers don't share one buffer of chosen positions, as sites must for one to read "
            "another's choice"
        )
    return GenericAdapter(found, lambda: runner.input_batch.req_ids)


ARCHITECTURE = Architecture(
    "deepseek_v32_generic", "cpu", ("DeepseekV32ForCausalLM", "GlmMoeDsaForCausalLM"), build
)

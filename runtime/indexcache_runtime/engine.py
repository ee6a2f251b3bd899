"""Defines what an engine must offer for reuse to be switched in it, and what the engine core tells its
workers.

An engine is served by an adapter in five words: *capabilities* (is it supported, or why not), *sites* (the
places with an indexer), *modes* (what each site does in the next step), *taint* (no baseline request reads KV
that was made under reuse), *control* (see control/engine_control.py). The core speaks of sites, never of
layers: an architecture is one file that finds its sites and sets their modes.

What a step does is settled once, in the engine core, when the step is scheduled; its StepPlan travels with
the step to the workers, so the hashes of the step's blocks and the work done agree on every rank, whatever is
in flight.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from indexcache_core.contract import DeviceUse, Indexer, Mode, Site, Work

REPLAYED_ROWS = 64
"""Of a replayed step at most so many rows are measured: its graph keeps them."""


class SiteMode(StrEnum):
    """Says what a site does in a step. Its key cache is written in every mode, so each may follow each."""

    FULL = "full"
    """Its indexer runs and its choice is read."""
    SHARED = "shared"
    """Its leader's choice is read; its indexer scores nothing."""
    FULL_TO_SCRATCH = "full-to-scratch"
    """Its leader's choice is read; its indexer scores the sampled rows, for comparison only."""


@dataclass(frozen=True)
class Row:
    """A query row to measure: the token at `position` of a request, whose context is position + 1 tokens."""

    request: str
    position: int
    offset: int = 0
    """Which of the request's tokens in this step it is, from 0 on."""
    work: Work = Work.PREFILL


@dataclass(frozen=True)
class StepPlan:
    """Says what the workers do in a step other than running all Full with nothing measured, which needs no
    plan."""

    mode: Mode
    """shadow or on; off where only the step's time is taken"""
    pattern: str = ""
    """The pattern in force, protected sites Full."""
    series: int = 0
    rows: tuple[Row, ...] = ()
    draw: int = 0
    """Chooses, at random, which Shared sites are measured where not all are: the same on every rank."""
    timed: bool = False
    """Take the time of the step's parts. Only where the adapter can, and for steps that no CUDA graph
    runs."""
    replayed: bool = False
    """It is of so few tokens that one CUDA graph replays it, if there is room for one: then what is measured
    is what that keeps. Never so where an all-Full step is measured in mode on: it runs without graphs, as its
    own would take the place of those of the pattern in force."""
    apart: bool = False
    """It runs under reuse in mode shadow, for probes alone: without CUDA graphs, so that shadow keeps its
    own."""
    indexer: Indexer = Indexer.NATIVE
    """What chooses at Full sites; another than vLLM's own only in steps under reuse."""


@dataclass(frozen=True)
class Parts:
    """Tells where the time of a step went, in seconds of the device."""

    indexer: float
    """Scores and top-k of all indexers that ran."""
    attention: float
    """Core attention over the chosen tokens."""
    rest: float
    """All else from the inputs' preparation to the sampled tokens: projections, experts, norms, an indexer's
    keys, sampling."""


@dataclass(frozen=True)
class Measured:
    """Holds what a worker measured in a step: for Shared sites of the pattern, by index, a value in [0, 1]
    for each row of the plan.

    Not each step measures all sites.
    """

    overlap: dict[int, list[float]] = field(default_factory=dict)
    recall: dict[int, list[float]] = field(default_factory=dict)
    agreement: list[float] = field(default_factory=list)
    """Of rows of a Full site where the fast indexer chose, the share of chosen tokens that score as high as
    the last that vLLM's kernels choose."""
    seconds: float = 0.0
    """Spent on measuring, of the device, and of the host before and after the device's work; 0 where that
    isn't told."""
    parts: Parts | None = None
    device: DeviceUse | None = None
    """Where it changed."""


@dataclass(frozen=True)
class Capabilities:
    """Says what a worker found in its model: sites in execution order, or reasons why there are none to
    switch."""

    architecture: str = ""
    sites: tuple[Site, ...] = ()
    reasons: tuple[str, ...] = ()
    graphed_tokens: int = 0
    """Steps of at most so many tokens may be replayed from CUDA graphs. 0: no step is."""
    replayed_tokens: int = 0
    """Steps of decode of at most so many tokens are replayed from one whole graph."""
    timed: bool = False
    """Whether the time of a step's parts can be taken."""
    indexers: tuple[Indexer, ...] = (Indexer.NATIVE,)
    """What can choose at Full sites."""


Pending = Callable[[], Measured]
"""A measurement under way: called once the step's output was awaited, so that nothing waits for it."""


class RequestOrder(Protocol):
    """Returns the requests of the step now running, in the order of their rows."""

    def __call__(self) -> Sequence[str]: ...


class Adapter(Protocol):
    """Switches one architecture in one worker. Called between steps only, but for what the model itself
    calls."""

    @property
    def sites(self) -> tuple[Site, ...]:
        """Return the sites in execution order, the backbone's only."""
        ...

    def begin(self, plan: StepPlan | None) -> None:
        """Set every site for the next step; None: all Full, nothing measured, and the model as it was
        before."""
        ...

    @property
    def graphed_tokens(self) -> int:
        """Return Capabilities.graphed_tokens."""
        ...

    @property
    def replayed_tokens(self) -> int:
        """Return Capabilities.replayed_tokens."""
        ...

    @property
    def timed(self) -> bool:
        """Return Capabilities.timed."""
        ...

    @property
    def indexers(self) -> tuple[Indexer, ...]:
        """Return Capabilities.indexers."""
        ...

    @property
    def lock(self) -> AbstractContextManager[Any] | None:
        """Return what is held by whoever waits for a step's output; None: nothing need be."""
        ...

    def ran(self) -> None:
        """Note that the model's part of the step was handed to the device, what it samples was not."""
        ...

    def take(self) -> Pending | None:
        """Return what the step measured, once; None if nothing. Called after the step's work was handed to
        the device. Raises what failed in the step while it ran, which doesn't reach vLLM."""
        ...

    def restore(self) -> None:
        """Put the model back as vLLM made it, whatever was done to it. Nothing is called after it."""
        ...

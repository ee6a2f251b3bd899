"""Defines what an engine counts of what it does, cumulative while an incarnation lives: parts of State in
contract.py.
"""

from pydantic import BaseModel, ConfigDict

from indexcache_core.contexts import CONTEXT_ENDS_IN_K

HALF_LIFE = 200.0
"""Users' requests that halve the weight of those before them in Requests.recent."""


class Model(BaseModel):
    """The base of everything that travels: unknown fields are errors, values don't change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Requests(Model):
    """Counts users' requests, cumulative but for `running`; probes are counted in `probes` alone.

    A request is admitted under the mode of the step that first schedules it.
    """

    admitted_baseline: int = 0
    admitted_reuse: int = 0
    touched_by_reuse: int = 0
    """Requests of which at least one step ran in mode `on`, whenever they were admitted."""
    opted_out: int = 0
    """Requests that asked never to be served under reuse, in whatever mode; in mode `on` they are admitted to
    the baseline.
    """
    beyond_reach: int = 0
    """Admitted in mode `on` with a prompt that is longer than reuse reaches: served by the baseline. Those
    that opted out are not among them.
    """
    left_reach: int = 0
    """Touched by reuse, and served all Full from some context on: they grew beyond the reach, or it was taken
    back from them.
    """
    finished: int = 0
    probes: int = 0
    running_baseline: int = 0
    running_reuse: int = 0
    """In flight and touched by reuse."""
    contexts: tuple[int, ...] = (0,) * (len(CONTEXT_ENDS_IN_K) + 1)
    """Users' requests admitted, by the context length of their prompt (buckets as for Series)."""
    recent: tuple[float, ...] = (0.0,) * (len(CONTEXT_ENDS_IN_K) + 1)
    """The same, the older the lighter: HALF_LIFE requests halve the weight of what came before them."""
    recent_decoding: tuple[float, ...] = (0.0,) * (len(CONTEXT_ENDS_IN_K) + 1)
    """Of those in `recent`, the ones that asked for more than one token, and so decode."""
    recent_work: tuple[float, ...] = (0.0,) * (len(CONTEXT_ENDS_IN_K) + 1)
    """What an indexer scores all Full for the requests that ended, by the same buckets and with the same
    halving: pairs of a query row that was computed for them and a token of its context. It follows from the
    tokens that were found in the cache when a request was first scheduled and those computed when it ended:
    what is computed again after a preemption counts once, and what ends while it is preempted counts nothing.
    """


class Steps(Model):
    """Counts engine steps, cumulative."""

    full: int = 0
    """All Full, in mode `off`, `shadow` or `tripped`."""
    reuse: int = 0
    """With at least one Shared site."""
    reuse_all_full: int = 0
    """In mode `on`, but all Full: a short context, a request that opted out or is beyond the reach, a probe's
    full side.
    """
    reuse_apart: int = 0
    """In mode `shadow`, under reuse, with nothing but probes that ask for it."""


class Cache(Model):
    """Counts what the prefix cache was asked for and gave, in tokens, cumulative."""

    baseline_hits: int = 0
    """Tokens served from blocks computed under the baseline."""
    reuse_hits: int = 0
    """Tokens served from blocks computed under reuse, to requests under the same reuse."""
    resalted_requests: int = 0
    """Requests whose not yet computed blocks moved to another chain, at a flip or where they left what reuse
    reaches.
    """
    recomputed_requests: int = 0
    """Requests that were preempted when reuse ended, to be prefilled again at the baseline: see InFlight."""


class StepTime(Model):
    """Says where the time of prefill steps went on the device, in seconds, cumulative over the steps that
    were timed (a few of them).
    """

    steps: int = 0
    indexer_seconds: float = 0.0
    """Scores and top-k."""
    attention_seconds: float = 0.0
    """Core attention over the chosen tokens."""
    rest_seconds: float = 0.0


class DeviceUse(Model):
    """Says what switching holds on each device, beside what the engine holds without it."""

    graph_bytes: int = 0
    """CUDA graphs of the pattern in force or last in force, or those that measured steps in shadow are
    replayed from.
    """
    graphs_of: str = ""
    """That pattern; in shadow all Full. What is told here comes with a step's output: right after a change it
    is of the pattern before.
    """
    scratch_bytes: int = 0
    """Measurement, at its peak."""
    graphs: int = 0
    """Captured graphs of full decode steps under the pattern."""
    graphs_wanted: int = 0
    """How many there are to capture; 0 where the engine runs no graphs, or no pattern is in force. Until then
    a step waits for its own.
    """


class FastIndexer(Model):
    """Counts where the fast indexer's choice was compared with what vLLM's own kernels choose, cumulative."""

    rows: int = 0
    """Sampled rows compared, of steps that it ran in."""
    least_agreement: float | None = None
    """Of these rows the least share of chosen tokens that score as high as vLLM's last, None before any. An
    engine in which it is under LEAST_AGREEMENT stops reuse for good.
    """


LEAST_AGREEMENT = 0.99
"""Sums in another order move a token or two of some thousands across the edge; a wrong kernel many."""

"""Defines what is judged: the guardrails, the tests of each, their parts of alpha, and what is said of one
that is breached.

The operator judges what all engines of a rollout measured together (plan/facts/guardrails.py), each engine's
breaker what that engine measured alone (indexcache_runtime/measuring/breaker.py). Both read here which tests
there are:

    overlap, recall         one test for each judged bucket of context length and kind of work (prefill,
                            decode), on the mean over the Shared indexers
    recall_per_indexer      one test for each Shared indexer, judged bucket and kind of work
    quality                 one test, on the mean over paired probes; engines know nothing of it
    disasters               one test, on the share of paired probes that aren't wholly lost (disasters.py)

An observation is one request's: see Series in contract.py. In the mean over the Shared indexers each has the
same weight.

alpha (confidence.falseRollback) is split by Bonferroni. The breakers of all engines together get BREAKERS of
it, if there is anything that they can judge, and each engine a part of that. The rest is the
operator's. Whoever judges splits its part evenly over the guardrails that act, and within each evenly over
its tests. The split rests on what is asked alone, never on data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from indexcache_core.contexts import JUDGED, context_label
from indexcache_core.contract import GuardrailName, Mode, Work

Measure = Literal["overlap", "recall"]
"""What an engine measures of a reused choice: see Series in contract.py."""
Stream = Literal[Mode.SHADOW, Mode.ON]
"""Whether it was measured while all layers ran Full, or under reuse."""
STREAMS: tuple[Stream, Stream] = (Mode.SHADOW, Mode.ON)
"""Each of the operator's tests bets on both, half and half; those of a breaker on the latter alone."""

Name = GuardrailName | Literal["quality", "disasters"]
"""A guardrail: by the name that engines know it by, where they do."""
PROBED: tuple[Name, Name] = ("quality", "disasters")
"""Those on answers of probes."""
IN_RESOURCE: Mapping[Name, str] = {
    "overlap": "overlap",
    "recall": "recall",
    "recall_per_indexer": "recallPerIndexer",
    "quality": "quality",
    "disasters": "disasters",
}
"""How the resource's status spells it."""

BREAKERS = 0.1
"""The breakers' part of alpha: a tenth, since they only have to act where nobody else does. It costs the
operator 0.1 nat, and them 2.3.
"""

FEWEST = 8
"""Engines that their part of alpha suffices for, at least."""


class TestKey(NamedTuple):
    """A test, or a group of tests that a certificate is asked for."""

    guardrail: Name
    site: int | None = None
    """The Shared indexer that is judged; None: the mean over all of them."""
    context: int | None = None
    """The bucket of context length."""
    work: Work | None = None
    """What rows are computed for."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A guardrail on what engines measure."""

    name: GuardrailName
    measure: Measure
    by_site: bool
    """Whether each Shared indexer is judged by itself, rather than their mean."""

    def test(self, site: int | None, context: int, work: Work) -> TestKey | None:
        """Return the test that counts observations of a site (None: of the mean over the Shared ones) in a
        judged bucket of context length and of one kind of work; None if it counts none of them.
        """
        return TestKey(self.name, site, context, work) if self.by_site == (site is not None) else None

    def tests(self, shared: Sequence[int]) -> tuple[TestKey, ...]:
        """Return all tests, given the indexes of the Shared indexers; without any there is none."""
        return _tests(self.name, self.by_site, tuple(shared), JUDGED)


@lru_cache(maxsize=64)
def _tests(
    name: GuardrailName, by_site: bool, shared: tuple[int, ...], contexts: tuple[int, ...]
) -> tuple[TestKey, ...]:
    """Return all tests of a guardrail. Kept, as a look asks for the same ones a dozen times."""
    sites = (shared if by_site else (None,)) if shared else ()
    return tuple(
        TestKey(name, site, context, work) for site in sites for context in contexts for work in Work
    )


MEASURED: Mapping[Name, Measured] = {
    "overlap": Measured(name="overlap", measure="overlap", by_site=False),
    "recall": Measured(name="recall", measure="recall", by_site=False),
    "recall_per_indexer": Measured(name="recall_per_indexer", measure="recall", by_site=True),
}
"""Those that engines can judge too."""


def operators_alpha(false_rollback: float, *, engines_judge: bool) -> float:
    """Return the operator's part of alpha."""
    return false_rollback * (1.0 - BREAKERS if engines_judge else 1.0)


def engines_alpha(false_rollback: float, engines: int) -> float:
    """Return the part of alpha of one of so many engines that judge.

    It is that of the next power of two, FEWEST at least, so that a rollout that is scaled a little asks its
    engines nothing new.
    """
    return false_rollback * BREAKERS / max(FEWEST, 1 << (engines - 1).bit_length())


def tests_alpha(alpha: float, guardrails: int, tests: int) -> float:
    """Return the part of one test of a guardrail with so many, where `alpha` is split over so many guardrails
    that act.
    """
    return alpha / max(guardrails, 1) / max(tests, 1)


def breach_message(
    test: TestKey,
    *,
    k: int | None,
    mean: float | None,
    threshold: float,
    evidence: str,
    layer: int | None = None,
    observations: float | None = None,
) -> str:
    """Return, for people, what was measured where and against what, of a test on what engines measure.

    `k`: tokens that an indexer chooses, by which contexts are shown; None if unknown. `evidence`: see
    `evidence_message`. `layer` and `observations` are shown where they are known.
    """
    measured = MEASURED[test.guardrail]
    where = "the Shared indexers" if test.site is None else f"indexer {test.site}"
    if layer is not None:
        where += f" (layer {layer})"
    if test.context is not None and k:
        where += f" at contexts of {context_label(test.context, k)} tokens"
    if test.work is not None:
        where += f" in {test.work}"
    found = "under the threshold" if mean is None else f"{mean:.3f} in the mean"
    named = ""
    if observations is not None:
        found = (
            f"{'unknown' if mean is None else f'{mean:.3f}'} in the mean over {observations:.0f} observations"
        )
        named = f" (guardrail {test.guardrail})"
    return f"{measured.measure} of {where} is {found}, at least {threshold:g} expected{named}; {evidence}"


def quality_message(drop: float | None, allowed: float, evidence: str) -> str:
    """Return the same of the test on probes. `drop`, `allowed`: of the log-probability, in nats a token."""
    found = "more than is allowed" if drop is None else f"{drop:.4f} nat a token"
    return f"log-probability drops by {found}, at most {allowed:g} allowed; {evidence}"


def evidence_message(log_e: float, log_limit: float) -> str:
    """Return how strong the evidence against the pattern is, and at which strength it breaches; both in
    nats.
    """
    return f"evidence e^{log_e:.1f} against the pattern, the limit is e^{log_limit:.1f}"


def disasters_message(share: float | None, allowed: float, evidence: str) -> str:
    """Return the same of the test on answers that are wholly lost. `share`, `allowed`: of the answers."""
    found = "more than is allowed" if share is None else f"{share:.2%}"
    return (
        f"{found} of the answers are lost by over five tolerances, at most {allowed:.2%} allowed; {evidence}"
    )

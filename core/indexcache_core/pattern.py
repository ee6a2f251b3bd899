"""Patterns: which indexers run (Full) and which reuse the choice of the nearest Full one before them
(Shared).

A pattern has one letter for each *indexer site* of a model, in execution order: DeepSeek-V3.2 has a site in
each of its 61 layers, other models in some. A site is named by its position in that order, its *index*; the
layer it lies in is a fact about the model.
"""

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

FULL, SHARED = "F", "S"
MAX_SITES = 512


class PatternError(ValueError):
    """A pattern that can't be: says what was found, what was expected and what to do."""


def check(pattern: str) -> str:
    """Return the pattern itself, if it is one for some model: letters F and S, an F first.

    Raises PatternError.
    """
    if not pattern:
        raise PatternError(
            "found no letter; expected one, F (Full) or S (Shared), for each indexer of the model; write them"
        )
    if len(pattern) > MAX_SITES:
        raise PatternError(
            f"found {len(pattern)} letters; expected at most {MAX_SITES}; give one for each indexer"
        )
    wrong = sorted(set(pattern) - {FULL, SHARED})
    if wrong:
        raise PatternError(
            f"found {', '.join(map(repr, wrong[:8]))}; expected only the letters F (Full) and S (Shared); "
            "write one for each indexer"
        )
    if pattern[0] != FULL:
        raise PatternError(
            "found S at the start; expected an F, as the first indexer has none before it to share with; "
            "begin with F"
        )
    return pattern


Pattern = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    AfterValidator(check),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_SITES}),
]


def protect(pattern: str, protected: Iterable[int]) -> str:
    """Return the pattern with the protected sites Full, whatever it said of them."""
    kept = set(protected)
    return "".join(FULL if i in kept else letter for i, letter in enumerate(pattern))


def leaders(pattern: str) -> tuple[int, ...]:
    """Return for each site the index of the site whose choice it reads: its own if Full, the nearest Full one
    before it if Shared.
    """
    out: list[int] = []
    for i, letter in enumerate(pattern):
        out.append(i if letter == FULL else out[-1])
    return tuple(out)


def shared_sites(pattern: str) -> tuple[int, ...]:
    """Return the indexes of the Shared sites."""
    return tuple(i for i, letter in enumerate(pattern) if letter == SHARED)


def retention(pattern: str) -> float:
    """Return the share of the indexers that still run, in (0, 1]."""
    return pattern.count(FULL) / len(pattern)


def misfits(pattern: str, protected: Iterable[int], domains: list[str]) -> list[str]:
    """Return the reasons against a pattern for a model whose sites lie in these domains, one a site, in
    execution order; none if it fits.

    A *domain* is where choices can be compared: one pipeline stage, one compression ratio. The first site of
    each must be Full.
    """
    reasons = []
    if len(pattern) != len(domains):
        reasons.append(
            f"pattern: {len(pattern)} letters, the model has {len(domains)} indexers; give one letter for "
            "each"
        )
    outside = sorted(i for i in set(protected) if not 0 <= i < len(domains))
    if outside:
        reasons.append(
            f"protected: {outside} outside the model's indexers 0 to {len(domains) - 1}; remove them"
        )
    effective = protect(pattern, protected)
    for i, (letter, domain) in enumerate(zip(effective, domains, strict=False)):
        if letter == SHARED and domain not in domains[:i]:
            reasons.append(f"pattern: indexer {i} is Shared but the first of domain {domain!r}; make it F")
        elif letter == SHARED and domains[leaders(effective)[i]] != domain:
            reasons.append(
                f"pattern: indexer {i} would share across domains ({domain!r}); make an earlier one of its "
                "domain F"
            )
    return reasons

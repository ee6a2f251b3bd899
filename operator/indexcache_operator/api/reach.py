"""Holds how far reuse reaches, as a part of the status: status.py offers it too."""

from dataclasses import dataclass

from indexcache_operator.api.base import Stored


@dataclass(frozen=True, kw_only=True, slots=True)
class CapStatus(Stored):
    """A bound on the reach for the rest of the try: evidence speaks against longer contexts."""

    tokens: int
    """Of context, beyond which nothing is served under reuse in this try."""
    cause: str
    """In one word, as that of a fallback."""
    message: str = ""
    """The figures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReachStatus(Stored):
    """The reach: the length of context up to which every one has its certificates. What was granted is taken
    back by a fallback or a new try alone.
    """

    tokens: int = 0
    """Of context, up to which any pod may serve under reuse; 0: nothing yet, 1000000000: no bound."""
    canary_tokens: int = 0
    """The same of the canary's pods and, after the promotion, of the pod that goes ahead."""
    ahead: str = ""
    """The pod that earns the next certificates under reuse after the promotion; empty where none is
    wanted.
    """
    share: float | None = None
    """Of the indexers' work, within what users may meet: on the canary's pods while it runs, on all pods
    afterwards; before that, within what is certified in shadow.
    """
    beyond_share: float | None = None
    """Of the indexers' work, in the next longer contexts, which wait for certificates."""
    message: str = ""
    """All this in words."""
    cap: CapStatus | None = None
    summary: str = ""
    """The reach in a word, as a printer column shows it."""

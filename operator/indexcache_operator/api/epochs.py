"""Epochs of flags, which engines put in order: first by the term of the leader that gave them, then by its
own count.

An epoch is one whole number, so engines compare it as they always did, and one from before there were terms
is older than any of a term. A count that outgrows its share goes on into the next term's: whoever leads then
gives numbers above all that are known, so none is given twice.
"""

EACH_TERM = 2**20
"""Epochs of one term. The largest number that JSON holds exactly leaves room for 2**33 terms."""
LARGEST = 2**53
"""The contract's bound."""


def first(term: int) -> int:
    """Return the first epoch of a term; of a term beyond the largest epoch, none that is newer."""
    return min(term * EACH_TERM, LARGEST - EACH_TERM) if term > 0 else 0


def term(epoch: int) -> int:
    """Return the term that an epoch is of; 0 for one from before there were terms."""
    return max(epoch, 0) // EACH_TERM

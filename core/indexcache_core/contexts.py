"""Buckets of context length, in units of the model's k, and which of them are judged."""

CONTEXT_ENDS_IN_K = (1, 2, 4, 8, 16, 32, 64, 128)
"""Upper ends of the buckets.

The first is not measured, as everything is chosen there; the second is shown but never judged, as recall says
little there; the rest are judged.
"""
JUDGED_FROM = 2
"""Index of the first bucket that is judged."""
JUDGED = tuple(range(JUDGED_FROM, len(CONTEXT_ENDS_IN_K) + 1))


def context_bucket(tokens: int, k: int) -> int:
    """Return the bucket of a context of so many tokens in a model that chooses k."""
    return next((i for i, end in enumerate(CONTEXT_ENDS_IN_K) if tokens <= end * k), len(CONTEXT_ENDS_IN_K))


def context_end(bucket: int, k: int) -> int | None:
    """Return the longest context of a bucket, in tokens; None for the last one, which has no end."""
    return CONTEXT_ENDS_IN_K[bucket] * k if bucket < len(CONTEXT_ENDS_IN_K) else None


def context_label(bucket: int, k: int) -> str:
    """Return a bucket's bounds in tokens, as people read them: "129-256"."""
    low = CONTEXT_ENDS_IN_K[bucket - 1] * k + 1 if bucket else 1
    return f"{low}-{CONTEXT_ENDS_IN_K[bucket] * k}" if bucket < len(CONTEXT_ENDS_IN_K) else f"{low}+"

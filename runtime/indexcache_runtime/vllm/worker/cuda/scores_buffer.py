"""Advises on the buffer that vLLM's own indexers score prefills in.

vLLM takes as many rows of a prefill at once as their scores fit into VLLM_SPARSE_INDEXER_MAX_LOGITS_MB. Its
kernel needs some thousands to keep a GPU busy; the default leaves 671 of a context of 200K tokens, and a
prefill without reuse takes 7 % longer (docs/performance.md).
"""

import math

VARIABLE = "VLLM_SPARSE_INDEXER_MAX_LOGITS_MB"
SCORE_BYTES, MEBIBYTE = 4, 1 << 20
FEW, ENOUGH = 2048, 4096
"""Rows at once: fewer are slow, more gain nothing."""


def advice(max_model_len: int, megabytes: int) -> str | None:
    """Return what to set, and what it gains and costs; None where the buffer is large enough.

    max_model_len: of the longest context, in tokens. megabytes: what the variable says.
    """
    rows = megabytes * MEBIBYTE // (SCORE_BYTES * max_model_len)
    if rows >= FEW:
        return None
    needed = math.ceil(ENOUGH * SCORE_BYTES * max_model_len / MEBIBYTE)
    enough = 1 << (needed - 1).bit_length()
    return (
        f"{VARIABLE}: {megabytes}; of a context of {max_model_len:,} tokens vLLM scores {rows:,} rows of a "
        f"prefill at once. With {enough} its own indexers are faster, by 7 % of a prefill of 200K tokens, "
        f"for {(enough - megabytes) / 1024:.1f} GiB of device memory"
    )

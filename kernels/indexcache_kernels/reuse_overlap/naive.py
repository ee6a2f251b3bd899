"""The definition of `reuse_overlap`, in torch. The CPU path runs it."""

import torch


def reuse_overlap_naive(
    reused: torch.Tensor, fresh: torch.Tensor, fresh_scores: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """See `reuse_overlap`, which checks the arguments.

    Membership by binary search in the sorted reused set: k log k a row, 32 rows of 2,048 take 7 ms on one
    core.
    """
    if reused.shape[1] == 0:
        nothing = torch.full((reused.shape[0],), torch.nan, device=reused.device)
        return nothing, None if fresh_scores is None else nothing.clone()
    fresh = fresh.to(reused.dtype).contiguous()
    valid = fresh >= 0  # [R, k]
    ordered = reused.contiguous().sort(dim=-1).values
    at = torch.searchsorted(ordered, fresh).clamp_(max=reused.shape[1] - 1)
    member = (ordered.gather(1, at) == fresh) & valid  # [R, k]
    overlap = member.sum(1) / valid.sum(1)  # 0 / 0 is NaN
    if fresh_scores is None:
        return overlap, None
    mass = fresh_scores.float().masked_fill(~valid, float("-inf")).softmax(dim=-1)  # NaN where all is -inf
    return overlap, torch.where(member, mass, 0.0).sum(1).masked_fill(~valid.any(1), torch.nan)

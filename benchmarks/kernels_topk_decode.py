"""index_topk_decode beside vLLM's own path for rows that are decoded: DeepGEMM's paged logits and the top-k
that vLLM takes by itself, each replayed from a CUDA graph.
"""

from typing import Any

import torch
from indexcache_kernels.index_topk_decode import Workspace, index_topk_decode
from indexcache_kernels.index_topk_decode.cases import PAGE

TOPK, HEADS, DIM, LENGTH = 2048, 32, 128, 200_000
MOST = 202_752
"""Tokens of the longest context that the engine would take: a multiple of a page."""
ALIKE = 1e-5
"""Of the row's largest score: sums in another order differ by less."""


class Decode:
    """Holds one step's rows over contexts of LENGTH, each of its own, and vLLM's path beside ours."""

    def __init__(self, rows: int) -> None:
        from vllm.utils import deep_gemm
        from vllm.v1.worker import workspace

        if not workspace.is_workspace_manager_initialized():
            workspace.init_workspace_manager(torch.device("cuda"))
        g = torch.Generator("cuda").manual_seed(rows)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=g, device="cuda")

        need = -(-LENGTH // PAGE)
        pages = rows * need
        self.cache = torch.empty((pages, PAGE, DIM + 4), dtype=torch.uint8, device="cuda")
        flat = self.cache.view(pages, -1)
        flat[:, : PAGE * DIM] = normal(pages, PAGE * DIM).to(torch.float8_e4m3fn).view(torch.uint8)
        flat[:, PAGE * DIM :] = (normal(pages, PAGE).abs() + 0.5).view(torch.uint8)
        self.q, self.weights = normal(rows, HEADS, DIM).to(torch.float8_e4m3fn), normal(rows, HEADS)
        self.lengths = torch.full((rows, 1), LENGTH, dtype=torch.int32, device="cuda")
        order = torch.randperm(pages, generator=g, device="cuda").int().view(rows, need)
        self.table = torch.nn.functional.pad(order, (0, MOST // PAGE - need)).contiguous()
        self.workspace = Workspace(rows, MOST, torch.device("cuda"))
        self.out, self.theirs = (
            torch.full((rows, TOPK), -1, dtype=torch.int32, device="cuda") for _ in range(2)
        )
        many = torch.cuda.get_device_properties("cuda").multi_processor_count
        self.schedule = deep_gemm.get_paged_mqa_logits_metadata(self.lengths, PAGE, many)

    def ours(self) -> torch.Tensor:
        """Choose by our kernel."""
        given = self.q, self.cache, self.weights, self.lengths.view(-1), self.table
        return index_topk_decode(*given, TOPK, self.workspace, self.out)

    def logits(self) -> torch.Tensor:
        """Return DeepGEMM's scores."""
        from vllm.utils import deep_gemm

        found: torch.Tensor = deep_gemm.fp8_fp4_paged_mqa_logits(
            (self.q.unsqueeze(1), None),
            self.cache.unsqueeze(-2),
            self.weights,
            self.lengths,
            self.table,
            self.schedule,
            max_model_len=MOST,
        )
        return found

    def vllm(self) -> torch.Tensor:
        """Choose as vLLM does."""
        from vllm.model_executor.layers.indexer_topk import get_indexer_topk

        choose: Any = get_indexer_topk("auto")
        choose(self.logits(), self.lengths, 1, self.theirs, TOPK, LENGTH)
        return self.theirs

    def below(self) -> int:
        """Count members that DeepGEMM's scores put below the last of the best, by more than the order of sums
        can, and places without a member or with one that is there twice."""
        scores, found = self.logits()[:, :LENGTH], self.ours().long()
        best = scores.topk(TOPK, dim=1).values
        least = best[:, -1:] - ALIKE * best[:, :1].abs()
        ordered = found.sort(dim=1).values
        wrong = (scores.gather(1, found.clamp(min=0)) < least).sum()
        return int(wrong + (found < 0).sum() + (ordered[:, 1:] == ordered[:, :-1]).sum())

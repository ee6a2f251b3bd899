"""Trains one step at one table size, captured as a CUDA graph on a GPU: at these sizes a step is bound by its
1,500 kernel launches.

Traps of the capture, each met once: autocast must not cache its casts; AdamW must be fused and capturable,
its rate a tensor; gradients must be None when the capture begins, so that they live in the graph's own
memory; the optimizer's state must exist before it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .architecture import Model
from .objective import Stage, forward
from .questions import ASK, BOS, QUESTIONS, SYMBOLS


def draw(
    batch: int, pairs: int, device: torch.device, questions: int = QUESTIONS, symbols: int = SYMBOLS
) -> tuple[Tensor, Tensor]:
    """Draw random sequences of the task and the answers: tokens [B, 1 + 2 pairs + 3 questions], answers [B,
    questions].

    The distribution is that of `questions.table`; drawn on the device, as a training step has no time for
    Python.
    """

    def permutations(n: int) -> Tensor:
        return torch.rand(batch, n, device=device).argsort(1)

    keys, values, order = permutations(symbols)[:, :pairs], permutations(pairs), permutations(pairs)
    rows = torch.stack([keys.gather(1, order), keys.gather(1, values.gather(1, order))], 2).flatten(1)
    asked = torch.randint(0, pairs, (batch, questions), device=device)
    answers = keys.gather(1, values.gather(1, asked))
    asks = torch.stack([torch.full_like(asked, ASK), keys.gather(1, asked), answers], 2)
    return torch.cat([torch.full((batch, 1), BOS, device=device), rows, asks.flatten(1)], 1), answers


class Optimizer:
    """Optimizes by AdamW, with a rate that a captured graph can read."""

    def __init__(self, params: list[nn.Parameter], rate: float, *, graphs: bool) -> None:
        self.params, self.graphs = params, graphs
        self._rate = torch.tensor(rate, device=params[0].device)
        self.adam = torch.optim.AdamW(
            params,
            lr=self._rate if graphs else rate,
            betas=(0.9, 0.98),
            weight_decay=0.01,
            fused=True,
            capturable=graphs,
        )

    def set_rate(self, rate: float) -> None:
        if self.graphs:
            self._rate.fill_(rate)
        else:
            for group in self.adam.param_groups:
                group["lr"] = rate

    def forget(self) -> None:
        self.adam.zero_grad(set_to_none=True)

    def apply(self) -> None:
        nn.utils.clip_grad_norm_(self.params, 1.0)
        self.adam.step()


class TrainingStep:
    """Trains on one fresh batch when called; `loss` and `divergence` are then the batch's, as tensors on the
    device.
    """

    def __init__(
        self,
        model: Model,
        stage: Stage,
        optimizer: Optimizer,
        *,
        batch: int,
        pairs: int,
        divergence_weight: float,
        questions: int = QUESTIONS,
        symbols: int = SYMBOLS,
    ) -> None:
        self.model, self.stage, self.optimizer, self.divergence_weight = (
            model,
            stage,
            optimizer,
            divergence_weight,
        )
        self.size = (batch, pairs, model.lm_head.weight.device, questions, symbols)
        self.tokens, self.answers = draw(*self.size)
        self.loss = self.divergence = torch.zeros(())
        self._graph = self._capture() if optimizer.graphs else None

    def __call__(self) -> None:
        tokens, answers = draw(*self.size)
        self.tokens.copy_(tokens)
        self.answers.copy_(answers)
        if self._graph is not None:
            self._graph.replay()
        else:
            self.optimizer.forget()
            self.loss, self.divergence = self._work()

    def _capture(self) -> torch.cuda.CUDAGraph:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.optimizer.forget()
                self._work()
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.forget()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.loss, self.divergence = self._work()
        return graph

    def _work(self) -> tuple[Tensor, Tensor]:
        """Do one step's work: forward, backward, clip, AdamW. The warm stage learns from the divergence
        alone."""
        pairs = self.size[1]
        with torch.autocast(self.tokens.device.type, torch.bfloat16, cache_enabled=False):
            logits, divergence = forward(self.model, self.tokens, self.stage)
        total, loss = self.divergence_weight * divergence, divergence * 0
        if self.stage != "warm":
            asked = logits[:, 2 + 2 * pairs :: 3]
            loss = F.cross_entropy(asked.float().flatten(0, 1), self.answers.flatten())
            total = total + loss
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.apply()
        return loss.detach(), divergence.detach()

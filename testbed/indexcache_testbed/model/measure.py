"""Measures every pattern on the same questions: answers right, log-probability, and what reuse covers at each
Shared site.

All patterns share their prefixes, so walking the tree of prefixes takes 255 layer evaluations for 128
patterns of 8 layers.

Definitions, for query rows with more than 2k tokens of context, as the runtime measures them:
* overlap: |reused & fresh| / |fresh|.
* recall: the share of softmax(index scores over the fresh set) that the reused set covers.
`on`: at a Shared site while the pattern's earlier sites reuse as well. `shadow`: all layers Full, a site
against the one it would read. Answers count for questions past 2k alone: what a short context answers is no
evidence.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .architecture import Angles, Model
from .questions import Table, past_2k


@dataclass
class Measured:
    """Means at one table size."""

    pairs: int
    tables: int
    questions: int
    """Questions that each pattern's figures rest on."""
    context: tuple[int, int]
    """Shortest and longest context of a question, in tokens."""
    patterns: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Pattern: share of answers right, mean log-probability of the right answer."""
    on: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Prefix of a pattern that ends in S: overlap, recall at its last site."""
    shadow: dict[str, tuple[float, float]] = field(default_factory=dict)
    """"leader>site": overlap, recall."""


def all_patterns(layers: int) -> list[str]:
    return ["F" + "".join(rest) for rest in itertools.product("FS", repeat=layers - 1)]


def reuse(reused: Tensor, fresh: Tensor, scores: Tensor, first_row: int) -> tuple[float, float]:
    """Return overlap and recall, means over the rows from `first_row` on. Masks and scores [B, T, T]."""
    r, f = reused[:, first_row:], fresh[:, first_row:]
    share = scores[:, first_row:].masked_fill(~f, -torch.inf).softmax(-1)
    return ((f & r).sum(-1) / f.sum(-1)).mean().item(), (share * r).sum(-1).mean().item()


class _Walk:
    """Takes one batch of sequences through the tree of prefixes; adds batch sums to `measured`."""

    def __init__(
        self, model: Model, tables: Sequence[Table], patterns: Iterable[str], measured: Measured
    ) -> None:
        device = model.lm_head.weight.device
        self.model, self.measured, self.weight = model, measured, len(tables)
        self.layers = model.layers
        self.tokens = torch.tensor([t.ids() for t in tables], device=device)
        self.prefixes = {p[:n] for p in patterns for n in range(1, len(p) + 1)}
        self.angles: Angles = model.angles(self.tokens.shape[1])
        self.first_row = 2 * model.shape.topk  # the row at position 2k has 2k + 1 tokens of context
        history = past_2k(measured.pairs, model.shape.topk)
        self.asked = torch.arange(
            2 + 2 * measured.pairs + 3 * history, self.tokens.shape[1], 3, device=device
        )

    def start(self) -> None:
        self.visit("", self.model.embed(self.tokens), None, [])

    def visit(self, done: str, x: Tensor, used: Tensor | None, fulls: list[Tensor]) -> None:
        """Walk on from the layer after the prefix `done`. fulls: the choices of all layers so far while every
        one was Full.
        """
        site = len(done)
        if site == len(self.layers):
            self.judge(done, x)
            return
        for letter in "FS":
            prefix = done + letter
            if prefix not in self.prefixes:
                continue
            shared = letter == "S"
            out = self.layers[site].step(x, used if shared else None, self.angles, score=True)
            assert out.fresh is not None
            assert out.scores is not None
            pure = "S" not in prefix
            if shared:
                self.add(self.measured.on, prefix, reuse(out.used, out.fresh, out.scores, self.first_row))
            elif pure:
                for leader, choice in enumerate(fulls):
                    self.add(
                        self.measured.shadow,
                        f"{leader}>{site}",
                        reuse(choice, out.fresh, out.scores, self.first_row),
                    )
            self.visit(prefix, out.x, out.used, [*fulls, out.fresh] if pure else fulls)

    def judge(self, pattern: str, x: Tensor) -> None:
        log_p = self.model.unembed(x[:, self.asked]).log_softmax(-1)
        answers = self.tokens[:, self.asked + 1]
        right = (log_p.argmax(-1) == answers).float().mean().item()
        self.add(self.measured.patterns, pattern, (right, log_p.gather(2, answers[..., None]).mean().item()))

    def add(self, where: dict[str, tuple[float, float]], key: str, values: tuple[float, float]) -> None:
        a, b = where.get(key, (0.0, 0.0))
        where[key] = a + values[0] * self.weight, b + values[1] * self.weight


@torch.no_grad()
def measure(
    model: Model, tables: Sequence[Table], patterns: Iterable[str] | None = None, *, batch: int = 32
) -> Measured:
    """Measure every pattern (or those given, and all Full) on tables of one size. Raises ValueError where no
    question comes past 2k tokens.
    """
    pairs, asked, layers = len(tables[0].pairs), len(tables[0].asked), model.shape.layers
    history = past_2k(pairs, model.shape.topk)
    if history >= asked:
        raise ValueError(
            f"tables: {asked} questions after {pairs} pairs, none past 2k = {2 * model.shape.topk} tokens; "
            "take more pairs"
        )
    context = (3 + 2 * pairs + 3 * history, 3 * asked + 2 * pairs)
    measured = Measured(pairs, len(tables), len(tables) * (asked - history), context)
    wanted = [*(patterns if patterns is not None else all_patterns(layers)), "F" * layers]
    for i in range(0, len(tables), batch):
        _Walk(model, tables[i : i + batch], wanted, measured).start()
    for sums in (measured.patterns, measured.on, measured.shadow):
        for key, (a, b) in sums.items():
            sums[key] = a / len(tables), b / len(tables)
    return measured

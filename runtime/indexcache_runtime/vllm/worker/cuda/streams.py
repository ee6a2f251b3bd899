"""Tells which stream PyTorch hands out next, so that a graph is not captured on one that the model itself
forks work to.

PyTorch has 32 streams and hands them out in turn, again and again, and vLLM captures each graph on the next
one. A model runs some kernels beside others on streams from the same ring: a MoE layer its shared expert, an
indexer's group the conversion of its choice. A graph that lies on one of these has in one line what should
run at once, as long as it lives: with the shared expert's, decode steps took 6 % longer.
"""

from collections.abc import Callable, Sequence

import torch

MOST = 128
"""Streams that are drawn in search of the first one again."""


def drawn() -> int:
    """Return the id of a stream that PyTorch hands out."""
    return int(torch.cuda.Stream().stream_id)  # type: ignore[no-untyped-call]


class Ring:
    """Knows the streams in the order in which they are handed out: learnt when it is first asked for."""

    def __init__(self, draw: Callable[[], int] = drawn) -> None:
        self._draw = draw
        self._after: dict[int, int] | None = None

    def turn(self, avoid: Sequence[int]) -> None:
        """Draw until the next stream is none of these. Where they are all there are, only the first is
        avoided."""
        if not avoid:
            return
        if self._after is None:
            self._after = self._learnt()
        wanted = self._after.keys() - set(avoid) or self._after.keys() - set(avoid[:1])
        for _ in self._after:
            if self._after.get(self._draw()) in wanted:
                return

    def _learnt(self) -> dict[int, int]:
        """Return what follows each; nothing if none comes again."""
        found = [self._draw()]
        for _ in range(MOST):
            if (stream := self._draw()) == found[0]:
                return dict(zip(found, [*found[1:], found[0]], strict=True))
            found.append(stream)
        return {}

"""Times on a CUDA device, by events and replays of graphs, and the device's two ceilings."""

import statistics
from collections.abc import Callable, Sequence

import torch

Work = Callable[[], object]


def events(work: Work, repeats: int) -> list[float]:
    """Return the milliseconds of each repeat, after one that isn't timed."""
    work()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return times


def in_turns(works: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of each work in every round; each round runs all of them, so that the clock's
    wandering strikes them alike.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name] += events(work, 1)
    return times


def replays(works: Sequence[Work], repeats: int = 30) -> list[float]:
    """Return the milliseconds of one of the works, which are alike but for their inputs: each repeat replays
    a graph of all of them.
    """
    for _ in range(2):
        for work in works:
            work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for work in works:
            work()
    return [t / len(works) for t in events(graph.replay, repeats)]


def copy_bandwidth() -> float:
    """Return the bytes read and written a second by a copy of 4 GB within the device."""
    source = torch.randint(0, 255, (1 << 32,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / (statistics.median(events(lambda: target.copy_(source), 20)) / 1000)


def fp8_rate() -> float:
    """Return the operations a second of a product of two random matrices in fp8, 8,192 each way."""
    n = 8192
    a, b = (torch.randn(n, n, device="cuda").to(torch.float8_e4m3fn) for _ in range(2))
    one = torch.ones((), device="cuda")
    times = events(lambda: torch._scaled_mm(a, b.T, one, one, out_dtype=torch.bfloat16), 20)
    return 2 * n**3 / (statistics.median(times) / 1000)

"""Trains the tiny model in three stages and measures every pattern on the result; made for one GPU and about
four minutes a seed.

    PYTHONPATH=testbed python -m indexcache_testbed.model.train --out DIR --seed 1 2 3 --budget 230 --limit
    570

Writes DIR/training.jsonl (one event a line, all seeds) and for each seed that learned
DIR/seed-N/{checkpoint.pt,patterns.json}; stops at the first seed whose table of patterns has all the figures
wanted. Exit status 1 if none has. `export` makes a checkpoint of checkpoint.pt.

Stages end by the clock, so a seed fixes initialization and data, not the last bit of the result.

Traps:
* The jump, at which the model finds out how to recall, comes after some 1,100 steps at 8 pairs; a seed
  without it is given up.
* Filtering a long run's output through grep without --line-buffered loses all of it when the time limit
  strikes.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from .architecture import Model, Shape
from .measure import measure
from .objective import Stage
from .patterns import PatternTable, Size, choose
from .questions import SIZES, measured_tables
from .steps import Optimizer, TrainingStep


@dataclass(frozen=True)
class Recipe:
    """Settings of a training; times in seconds."""

    budget: float = 230.0
    """For one seed, measuring included."""
    measuring: float = 25.0
    """Kept for measuring."""
    dense_limit: float = 0.6
    """Share of the budget after which a seed not yet at full size is given up."""
    dense_tail: float = 0.1
    """Share of the budget at full size, the rate going down."""
    dense_rate: float = 1e-3
    warm_rate: float = 2e-3
    sparse_rate: float = 3e-4
    warm_at_most: float = 50.0
    sparse_at_most: float = 120.0
    dense_batch: int = 64
    batch: int = 32
    first_pairs: int = 8
    """The curriculum's first table; times 1.5 whenever the running loss is under `grow_below`."""
    grow_below: float = 0.35
    sparse_divergence: float = 0.3
    """Weight of the indexers' divergence beside the language loss."""
    sizes: tuple[int, ...] = SIZES


class Log:
    """Events as JSON lines, to a file and to stdout; `t` counts seconds from the start of the seed."""

    def __init__(self, path: Path) -> None:
        self.path, self.seed, self.started = path, -1, time.monotonic()

    def begin(self, seed: int) -> None:
        self.seed, self.started = seed, time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def __call__(self, event: str, **fields: object) -> None:
        line = json.dumps({"event": event, "seed": self.seed, "t": round(self.elapsed(), 1), **fields})
        with self.path.open("a") as f:
            f.write(line + "\n")
        print(line, flush=True)


def rate_at(rate: float, step: int, done: float) -> float:
    """Return the rate: a warm-up over 200 steps, then from `done` 0 to 1 a cosine down to a twentieth."""
    return rate * min(1.0, step / 200) * (0.5 * (1 + math.cos(math.pi * done)) * 0.95 + 0.05)


class Trainer:
    """Trains one seed's model, stage after stage."""

    def __init__(self, recipe: Recipe, shape: Shape, device: torch.device, log: Log, *, graphs: bool) -> None:
        self.recipe, self.device, self.log, self.graphs = recipe, device, log, graphs
        self.model = Model(shape).to(device)
        named = list(self.model.named_parameters())
        self.body = [p for n, p in named if ".indexer." not in n]
        self.indexers = [p for n, p in named if ".indexer." in n]

    def dense(self) -> bool:
        """Train dense: a curriculum up to the full size, then the tail. False if the seed was given up."""
        r = self.recipe
        optimizer = Optimizer(self.body, r.dense_rate, graphs=self.graphs)
        started, full, pairs, running, count = self.log.elapsed(), 0.0, r.first_pairs, 9.0, 0
        step: TrainingStep | None = None
        while True:
            now = self.log.elapsed()
            done = (now - full) / (r.dense_tail * r.budget) if full else 0.0
            if done >= 1:
                self.report("dense", count, pairs, step, "stage ends")
                return True
            if not full and now - started > r.dense_limit * r.budget:
                self.report("dense", count, pairs, step, "given up")
                return False
            optimizer.set_rate(rate_at(r.dense_rate, count, done))
            if step is None:
                optimizer.forget()
                if self.graphs:
                    torch.cuda.empty_cache()
                step = self.step("dense", optimizer, r.dense_batch, pairs, 0.0)
            step()
            if count % 200 == 0:
                self.report("dense", count, pairs, step)
            if count % 20 == 0:
                running = (
                    0.6 * running + 0.4 * step.loss.item()
                )  # reading also keeps the host from running ahead of the clock
                if running < r.grow_below and pairs == r.sizes[-1]:
                    full = full or self.log.elapsed()
                elif running < r.grow_below:
                    pairs, running, step = min(r.sizes[-1], int(pairs * 1.5)), 2.0, None
            count += 1

    def rest(
        self, stage: Stage, params: list[nn.Parameter], rate: float, limit: float, divergence: float
    ) -> None:
        """Train the warm stage at full size, or the sparse one, every other batch at a size drawn from the
        smaller ones.
        """
        r = self.recipe
        optimizer = Optimizer(params, rate, graphs=self.graphs)
        steps: dict[int, TrainingStep] = {}
        started, count = self.log.elapsed(), 0
        while True:
            # The last 40 % of the stage go down.
            done = max(0.0, ((self.log.elapsed() - started) / limit - 0.6) / 0.4)
            if done >= 1:
                break
            optimizer.set_rate(rate_at(rate, count, done))
            mixed = stage == "sparse" and count % 2 and len(r.sizes) > 1
            pairs = r.sizes[int(torch.randint(0, len(r.sizes) - 1, ()).item())] if mixed else r.sizes[-1]
            if pairs not in steps:
                steps[pairs] = self.step(stage, optimizer, r.batch, pairs, divergence)
            steps[pairs]()
            if count % 20 == 0:
                steps[pairs].divergence.item()
            if count % 200 == 0:
                self.report(stage, count, pairs, steps[pairs])
            count += 1
        self.report(stage, count, r.sizes[-1], steps[r.sizes[-1]], "stage ends")

    def step(
        self, stage: Stage, optimizer: Optimizer, batch: int, pairs: int, divergence: float
    ) -> TrainingStep:
        return TrainingStep(
            self.model, stage, optimizer, batch=batch, pairs=pairs, divergence_weight=divergence
        )

    def report(
        self, stage: Stage, count: int, pairs: int, step: TrainingStep | None, event: str = "step"
    ) -> None:
        loss, kl = (round(step.loss.item(), 4), round(step.divergence.item(), 4)) if step else (None, None)
        self.log(event, stage=stage, step=count, pairs=pairs, loss=loss, divergence=kl)

    def run(self) -> bool:
        """Run all three stages within the budget. False if the seed was given up."""
        r = self.recipe
        if not self.dense():
            return False
        rest = r.budget - r.measuring - self.log.elapsed()
        self.rest("warm", self.indexers, r.warm_rate, min(r.warm_at_most, rest / 3), 1.0)
        self.rest(
            "sparse",
            self.body + self.indexers,
            r.sparse_rate,
            min(r.sparse_at_most, rest * 2 / 3),
            r.sparse_divergence,
        )
        return True


def tabulate(model: Model, seed: int, say: Callable[..., None]) -> PatternTable:
    """Measure every pattern at every size."""
    table = PatternTable([], model.shape.topk, seed)
    for pairs in SIZES:
        m = measure(model, measured_tables(pairs))
        table.sizes.append(Size(m.pairs, m.tables, m.questions, m.context))
        for source, target, names in (
            (m.patterns, table.patterns, ("right", "log_prob")),
            (m.on, table.on, ("overlap", "recall")),
            (m.shadow, table.shadow, ("overlap", "recall")),
        ):
            for key, values in source.items():
                for name, value in zip(names, values, strict=True):
                    target.setdefault(key, {}).setdefault(name, []).append(round(value, 4))
        say(
            "measured",
            pairs=pairs,
            questions=m.questions,
            right={k: round(v[0], 4) for k, v in m.patterns.items() if k.count("S") < 2},
        )
    return table


def train_seed(
    seed: int, recipe: Recipe, out: Path, device: torch.device, log: Log, *, graphs: bool
) -> list[str]:
    """Train, save and measure one seed; return the figures that it misses."""
    log.begin(seed)
    torch.manual_seed(seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    trainer = Trainer(recipe, Shape(), device, log, graphs=graphs)
    if not trainer.run():
        return ["training: not at full size in time"]
    model, folder = trainer.model, out / f"seed-{seed}"
    del trainer
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().to("cpu", torch.bfloat16) for k, v in model.state_dict().items()}
    torch.save({"seed": seed, "state": state}, folder / "checkpoint.pt")
    # Measured is what is shipped: the rounded weights, in float32.
    model.load_state_dict({k: v.float() for k, v in state.items()})
    torch.backends.cuda.matmul.allow_tf32 = False
    table = tabulate(model.eval(), seed, log)
    table.save(folder / "patterns.json")
    chosen = choose(table)
    for name, pattern in (("good", chosen.good), ("harmful", chosen.harmful), ("drift", chosen.drift)):
        if pattern:
            log("chosen", name=name, pattern=pattern, **table.patterns[pattern])
    log("result", recall=chosen.recall, missed=chosen.missed)
    return chosen.missed


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--seed", type=int, nargs="+", default=[1], help="tried in turn until one has all the figures"
    )
    parser.add_argument("--budget", type=float, default=Recipe.budget, help="seconds for a seed")
    parser.add_argument(
        "--limit",
        type=float,
        default=math.inf,
        help="seconds in all; no seed is begun that would outlast them",
    )
    parser.add_argument(
        "--no-graphs", action="store_true", help="plain steps instead of CUDA graphs, several times slower"
    )
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    args.out.mkdir(parents=True, exist_ok=True)
    log, started = Log(args.out / "training.jsonl"), time.monotonic()
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    log("start", torch=torch.__version__, hardware=hardware, seeds=args.seed, budget=args.budget)
    for tried, seed in enumerate(args.seed, 1):
        # A given-up seed leaves more time than a trained one; what counts is whether a whole budget is left.
        if tried > 1 and time.monotonic() - started + args.budget > args.limit:
            log("no time for another seed", tried=tried - 1)
            break
        missed = train_seed(
            seed,
            Recipe(args.budget),
            args.out,
            device,
            log,
            graphs=device.type == "cuda" and not args.no_graphs,
        )
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if not missed:
            log("all figures met", tried=tried)
            return 0
        log("missed", tried=tried, figures=missed)
    return 1


if __name__ == "__main__":
    sys.exit(main())

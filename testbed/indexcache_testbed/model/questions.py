"""Tables of key-value pairs and questions about them: the task that the tiny model has learned, and the
traffic of testbed and demo.

A sequence is BOS, `pairs` shuffled "key value" pairs, then questions "ASK key value". Keys are distinct
symbols and the values a permutation of them, so every symbol stands in the table twice and only its neighbour
tells which occurrence is meant.

Invariants:
* A table is a function of (pairs, seed, index), the same on every machine and Python: only
  `random.Random.random` is drawn, the one method whose sequence the standard library promises to keep.
* The question with history h is the prefix of the table's sequence that ends at its question h. So what
  `measure` reads from one pass over a whole sequence and what a server answers to single prompts are the very
  same questions.
* No torch here: the load generator imports this module.

Trap: a prompt of at most k tokens can't fail under any pattern, and between k and 2k tokens little is left
out; `past_2k` says from which history on a question says something.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

SYMBOLS = 512
BOS, ASK, UNKNOWN, EOS = SYMBOLS, SYMBOLS + 1, SYMBOLS + 6, SYMBOLS + 7
VOCABULARY = SYMBOLS + 8
WORDS = (
    *(f"s{i}" for i in range(SYMBOLS)),
    "<bos>",
    "<ask>",
    *(f"<{i}>" for i in range(ASK + 1, VOCABULARY)),
)
"""The tokenizer's words by token id; a prompt is words separated by blanks."""

TOPK = 64
"""The model's k: tokens that a query attends to."""
SIZES = (16, 64, 128, 256, 432)
"""Numbers of pairs at which every pattern is measured."""
QUESTIONS = 48
"""Questions after a table, in training and measuring."""
MEASURED_SEED = 1_000
"""The seed of the questions behind patterns.json. Load takes other seeds unless it repeats the
measurement.
"""
MEASURED_QUESTIONS = 3_072
"""Questions a cell of patterns.json rests on, all of them past 2k tokens."""


def text(ids: list[int]) -> str:
    """Return the prompt whose token ids these are."""
    return " ".join(WORDS[i] for i in ids)


@dataclass(frozen=True)
class Question:
    """A question as a prompt, and its answer, which is one token."""

    ids: tuple[int, ...]
    """The prompt's token ids, from BOS to the key asked for."""
    answer_id: int
    pairs: int
    history: int
    """Questions already answered between the table and this one."""

    @property
    def prompt(self) -> str:
        return text(list(self.ids))

    @property
    def answer(self) -> str:
        return WORDS[self.answer_id]

    @property
    def tokens(self) -> int:
        """Return the context length in tokens."""
        return len(self.ids)

    def right(self, completion: str) -> bool:
        """Return whether a server's completion begins with the answer."""
        return completion.split()[:1] == [self.answer]

    def probe(self) -> "Probe":
        return Probe(self.prompt, f" {self.answer}", self.tokens)


@dataclass(frozen=True)
class Probe:
    """A prompt and the continuation whose log-probability is compared between a canary and a baseline pod."""

    prompt: str
    continuation: str
    """With the blank that separates it from the prompt."""
    tokens: int
    """The prompt's length in tokens."""

    @property
    def text(self) -> str:
        """Return prompt and continuation."""
        return self.prompt + self.continuation


@dataclass(frozen=True)
class Table:
    """A table and the questions asked after it."""

    pairs: tuple[tuple[int, int], ...]
    asked: tuple[int, ...]
    """For each question the pair it asks for, by position in `pairs`."""

    def ids(self) -> list[int]:
        """Return the whole sequence, answers included: 1 + 2 pairs + 3 questions token ids."""
        out = [BOS]
        for key, value in self.pairs:
            out += (key, value)
        for i in self.asked:
            out += (ASK, *self.pairs[i])
        return out

    def question(self, history: int) -> Question:
        """Return the question asked after `history` others with their answers. Raises ValueError if the table
        has no such question.
        """
        if not 0 <= history < len(self.asked):
            raise ValueError(
                f"history: {history}, the table has {len(self.asked)} questions; give 0 to "
                f"{len(self.asked) - 1}"
            )
        end = context(len(self.pairs), history)
        return Question(tuple(self.ids()[:end]), self.pairs[self.asked[history]][1], len(self.pairs), history)


def context(pairs: int, history: int) -> int:
    """Count the tokens of the prompt with that table and history."""
    return 1 + 2 * pairs + 3 * history + 2


def past_2k(pairs: int, topk: int = TOPK) -> int:
    """Return the smallest history with which a question's context is longer than 2k tokens."""
    return max(0, -(-(2 * topk + 1 - context(pairs, 0)) // 3))


def table(pairs: int, *, seed: int, index: int, questions: int = QUESTIONS, symbols: int = SYMBOLS) -> Table:
    """Return the table of that number in the endless series of a seed. Raises ValueError if there are fewer
    symbols than pairs.
    """
    if not 1 <= pairs <= symbols:
        raise ValueError(f"pairs: {pairs}; expected 1 to {symbols}, a symbol is the key of at most one pair")
    rng = random.Random(f"{seed}/{pairs}/{index}")
    keys = _shuffled(list(range(symbols)), rng)[:pairs]
    values = _shuffled(keys, rng)
    asked = tuple(int(rng.random() * pairs) for _ in range(questions))
    return Table(tuple(zip(keys, values, strict=True)), asked)


def ask(pairs: int, *, seed: int, index: int, history: int | None = None) -> Question:
    """Return question number `index` of a seed, each after a table of its own: what the load generator sends.

    Without a history the shortest one is taken that brings the context past 2k tokens, and if even the
    longest does not, that one.
    """
    if history is None:
        history = min(past_2k(pairs), QUESTIONS - 1)
    return table(pairs, seed=seed, index=index).question(history)


def measured_tables(pairs: int, count: int = MEASURED_QUESTIONS) -> list[Table]:
    """Return the tables behind a column of patterns.json: enough for `count` questions past 2k."""
    each = QUESTIONS - past_2k(pairs)
    if each < 1:
        raise ValueError(
            f"pairs: {pairs}; no question after so small a table comes past 2k = {2 * TOPK} tokens, take "
            "more pairs"
        )
    return [table(pairs, seed=MEASURED_SEED, index=i) for i in range(-(-count // each))]


def measured_questions(pairs: int) -> Iterator[Question]:
    """Yield the very questions behind a column of patterns.json, the first question of every table before the
    second of any.
    """
    tables = measured_tables(pairs)
    for history in range(past_2k(pairs), QUESTIONS):
        for t in tables:
            yield t.question(history)


def _shuffled(items: list[int], rng: random.Random) -> list[int]:
    order = sorted((rng.random(), i) for i in range(len(items)))
    return [items[i] for _, i in order]

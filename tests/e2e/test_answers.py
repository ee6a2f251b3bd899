"""Tests that what users get through the gateway is what the model's table says: the very questions of the
table, asked of real engines.

No rollout owns the engines here, so that the tests can set patterns by hand on all of them.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from itertools import islice

import aiohttp
import pytest
import pytest_asyncio
import torch
from indexcache_core.contract import Flags, Mode
from indexcache_testbed import product
from indexcache_testbed.model.export import load
from indexcache_testbed.model.questions import Question, measured_questions
from indexcache_testbed.scenario import install

from tests.e2e.support import Engines, in_groups

MODEL = product.ROOT / "testbed/models/tiny_dsa"
PAIRS, ASKED = 128, 144
PERMIT = 120.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def free(engines: Engines) -> AsyncIterator[list[str]]:
    """Yield the addresses of the engines, which nobody else commands; at the baseline in the end."""
    await install.fresh()
    addresses = list((await engines.pods()).values())
    yield addresses
    await asyncio.gather(*(engines.put(ip, Flags()) for ip in addresses))


@pytest.mark.parametrize("name", ["full", "good", "harmful"])
async def test_answers_are_those_of_the_models_table(
    name: str, installed: str, free: list[str], engines: Engines
) -> None:
    chosen = json.loads((MODEL / "patterns.json").read_text())["chosen"]
    pattern = {"full": "FFFFFFFF", **chosen}[name]
    flags = Flags() if name == "full" else Flags(mode=Mode.ON, pattern=pattern, sample_rows=0)
    states = await asyncio.gather(
        *(engines.put(ip, flags, None if name == "full" else PERMIT) for ip in free)
    )
    assert {s.mode for s in states} == {flags.mode}
    questions = list(islice(measured_questions(PAIRS), ASKED))
    expected = await asyncio.to_thread(table_says, pattern, questions)
    answers = await in_groups(
        6, [partial(ask, engines.session, installed, q, salt=pattern) for q in questions]
    )
    mine, theirs = (sum(right) / ASKED for right in (answers, expected))
    differing = [i for i, (a, b) in enumerate(zip(answers, expected, strict=True)) if a != b]
    assert mine == pytest.approx(theirs, abs=0.02), f"questions {differing} came out differently"
    assert {"full": mine >= 0.99, "good": mine >= 0.97, "harmful": mine <= 0.30}[name]
    assert {(await engines.state(ip)).mode for ip in free} == {flags.mode}


async def ask(session: aiohttp.ClientSession, url: str, question: Question, *, salt: str) -> bool:
    """Return whether the answer through the gateway is right. `salt` keeps patterns out of each other's
    prefix caches, as in the table.
    """
    body = {
        "model": install.MODEL,
        "prompt": question.prompt,
        "max_tokens": 1,
        "temperature": 0,
        "cache_salt": f"table-{salt}",
    }
    async with session.post(f"{url}/v1/completions", json=body) as answer:
        assert answer.status == 200, await answer.text()
        return question.right((await answer.json())["choices"][0]["text"])


def table_says(pattern: str, questions: list[Question]) -> list[bool]:
    """Return what the model behind patterns.json answers under the pattern: plain torch, no server, no
    cache."""
    torch.set_num_threads(1)  # engines and users want the cores as well
    model, right = load(MODEL), {}
    for length in {q.tokens for q in questions}:
        alike = [q for q in questions if q.tokens == length]
        for first in range(0, len(alike), 16):
            some = alike[first : first + 16]
            last = model.run(torch.tensor([q.ids for q in some]), pattern)[:, -1].argmax(-1).tolist()
            right.update({q.ids: found == q.answer_id for q, found in zip(some, last, strict=True)})
    return [right[q.ids] for q in questions]

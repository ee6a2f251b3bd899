"""Closed-loop users: each asks, waits for the answer, checks it, and asks again.

The size of the tables can be changed while the load runs: that is how the demo lets its users' contexts grow.
"""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

from indexcache_testbed.background import Background
from indexcache_testbed.load.answers import Answer
from indexcache_testbed.model.questions import Question, ask

POD_HEADER, STATE_HEADER = "x-indexcache-pod", "x-indexcache-state"

PAUSE = 0.3
"""Seconds that users think between two questions, where nothing else is said."""


@dataclass
class Load:
    """Plays some users at one URL. Use as an async context manager: the users start on entering and end on
    leaving.
    """

    url: str
    """Where /v1/completions lies: the gateway."""
    model: str
    users: int = 5
    pairs: int = 16
    """Size of the tables asked about; may be changed at any time."""
    history: int | None = None
    """Questions already answered before each; None: as many as bring the context past 2k tokens."""
    pause: float = PAUSE
    """Seconds each user thinks between an answer and the next question."""
    seed: int = 7
    timeout: float = 60.0
    answers: list[Answer] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _background: Background = field(default_factory=lambda: Background("the load"))
    _session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.timeout))
        self._background.begin(*(self._user() for _ in range(self.users)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        try:
            await self._background.end()
        finally:
            await self._session.close()

    def since(self, moment: float) -> list[Answer]:
        """Return answers to what was asked at or after this moment of time.monotonic()."""
        return [a for a in self.answers if a.asked_at >= moment]

    def about(self, pairs: int, history: int | None = None, *, pause: float = PAUSE) -> None:
        """Let users ask about tables of this size from now on, and think so many seconds in between."""
        self.pairs, self.history, self.pause = pairs, history, pause

    async def _user(self) -> None:
        while True:
            self.answers.append(
                await self.ask(
                    ask(self.pairs, seed=self.seed, index=next(self._numbers), history=self.history)
                )
            )
            await asyncio.sleep(self.pause)

    async def ask(self, question: Question) -> Answer:
        """Ask one question and judge the answer."""
        assert self._session is not None
        body = {"model": self.model, "prompt": question.prompt, "max_tokens": 1, "temperature": 0}
        start, status, right, pod, state, error = time.monotonic(), 0, False, "", "", ""
        try:
            async with self._session.post(f"{self.url}/v1/completions", json=body) as response:
                status = response.status
                pod, state = response.headers.get(POD_HEADER, ""), response.headers.get(STATE_HEADER, "")
                if status == 200:
                    right = question.right((await response.json())["choices"][0]["text"])
                else:
                    error = (await response.text())[:200]
        except (aiohttp.ClientError, TimeoutError) as e:
            status, error = 0, f"{type(e).__name__}: {e}"
        return Answer(
            start, time.monotonic() - start, status, right, question.pairs, question.tokens, pod, state, error
        )

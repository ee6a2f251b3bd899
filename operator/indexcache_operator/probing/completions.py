"""Asks how likely an engine holds a fixed continuation of a prompt: the mean log-probability of its tokens,
in nats.

Each token of the continuation is a completion of one token after the prompt and the continuation so far,
which asks for the log-probability of just that token (`logprob_token_ids`). So the engine computes the logits
of one position, whatever the prompt's length, and the answer is a few hundred bytes. `prompt_logprobs` would
make it compute those of the whole prompt.

Invariants:
* Both sides are asked the same token ids. They come from the engine's tokenizer, for prompt and continuation
  together.
* No probe reads KV that somebody else computed, for keys made at the baseline before would hide what reuse
  does to a prefill. The prefix cache is salted for each side of each pair; the tokens of one continuation
  share the salt, and so the first alone prefills the prompt.
* The requests of one side have one name, which says the side: by it the engine tells how they were computed.

What goes wrong is told apart by whose fault it may be: an answer that makes no sense is that side's
(ProbeError), a connection that is refused or breaks is nobody's (Unanswered), and silence (Silent) may be
either's.

Trap: vLLM returns log-probabilities before any penalty or temperature, but only with the engine's argument
`--logprobs-mode` as it is by default, `raw_logprobs`.
"""

import asyncio
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from indexcache_core.probe_ids import Side, probe_request_id

from indexcache_operator.http_calls import Call, CallError, answer
from indexcache_operator.model import MAX_CONTINUATION, Probe
from indexcache_operator.objects import Object

BUSY = (429, 503)
"""What a pod answers that has too much to do, whatever the request."""
TIMEOUT_SECONDS = 300.0
"""A long prefill behind users' requests."""
CONNECT_SECONDS = 2.0
MAX_ANSWER = 16 * 1024 * 1024
"""Bytes. The largest is that of /tokenize, some 8 a token."""

ROUNDING = 1e-3
"""By how much a log-probability may exceed 0 in an engine's arithmetic."""


class ProbeError(Exception):
    """A probe that was refused, or whose answer makes no sense."""


class Unanswered(Exception):
    """A probe that the pod as a whole didn't take or gave no answer to."""


class Silent(Unanswered):
    """A probe that was taken, and not answered in time."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A probe in tokens."""

    prompt: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Completions:
    """The users' API of a rollout's engines, asked pod by pod."""

    session: aiohttp.ClientSession
    port: int
    control_tokens: Mapping[str, str]
    """By address: each marks a request as a probe, so that it doesn't count as traffic."""
    api_key: str | None = None

    async def model(self, ip: str) -> str:
        """Return the name under which an engine serves its model. Raises ProbeError, Unanswered."""
        answer = await self._call("GET", ip, "/v1/models", None)
        try:
            return str(answer["data"][0]["id"])
        except (KeyError, IndexError, TypeError):
            raise ProbeError(f"{ip}: /v1/models names no model") from None

    async def tokens(self, ip: str, model: str, probe: Probe) -> Tokens:
        """Return prompt and continuation as this engine's tokenizer splits the whole. Raises ProbeError, see
        `split`, and Unanswered."""

        async def of(text: str) -> tuple[int, ...]:
            answer = await self._call(
                "POST", ip, "/tokenize", {"model": model, "prompt": text, "add_special_tokens": True}
            )
            try:
                return tuple(int(token) for token in answer["tokens"])
            except (KeyError, TypeError, ValueError):
                raise ProbeError(f"{ip}: /tokenize returns no list of tokens") from None

        prompt, whole = await asyncio.gather(of(probe.prompt), of(probe.prompt + probe.continuation))
        return split(probe, prompt, whole)

    async def logprob(self, ip: str, model: str, tokens: Tokens, side: Side, nonce: str) -> float:
        """Return the mean log-probability of the continuation's tokens after the prompt, in nats. One request
        for each, in turn. Raises ProbeError, Unanswered.
        """
        request_id = probe_request_id(self.control_tokens[ip], nonce, side)
        salt = secrets.token_urlsafe(32)  # 256 bits, as vLLM advises
        found = []
        for i, token in enumerate(tokens.continuation):
            body = {
                "model": model,
                "prompt": [*tokens.prompt, *tokens.continuation[:i]],
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": 0,
                "logprob_token_ids": [token],
                "return_tokens_as_token_ids": True,
                "cache_salt": salt,
            }
            answer = await self._call("POST", ip, "/v1/completions", body, request_id)
            found.append(token_logprob(answer, token))
        return sum(found) / len(found)

    async def _call(
        self, method: str, ip: str, path: str, body: Object | None, request_id: str | None = None
    ) -> Object:
        given = request_id or probe_request_id(self.control_tokens[ip], secrets.token_hex(8))
        headers = {"X-Request-Id": given}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        call = Call(
            method=method,
            host=ip,
            port=self.port,
            path=path,
            headers=headers,
            body=None if body is None else json.dumps(body),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
            max_answer=MAX_ANSWER,
        )
        try:
            answered = await answer(self.session, call)
        except CallError as error:
            raise _fault(error) from error
        if answered.status in BUSY:
            raise Unanswered(f"{call}: {answered.status}")
        if answered.status != 200:
            raise ProbeError(f"{call}: {answered.status}: {answered.body[:300].decode(errors='replace')}")
        try:
            found = json.loads(answered.body)
        except ValueError as error:
            raise ProbeError(f"{call}: {error}") from error
        if not isinstance(found, dict):
            raise ProbeError(f"{call}: an answer that is no object")
        return found


def _fault(error: CallError) -> ProbeError | Unanswered:
    """Return whose fault a call without a whole answer is."""
    match error.__cause__:
        case aiohttp.ClientPayloadError():  # cut off in the middle
            return ProbeError(str(error))
        case aiohttp.ClientConnectionError():
            return Unanswered(str(error))
        case TimeoutError():
            return Silent(str(error))
        case OSError():
            return Unanswered(str(error))
    return ProbeError(str(error))


def split(probe: Probe, prompt: tuple[int, ...], whole: tuple[int, ...]) -> Tokens:
    """Return what the whole's tokens add to the prompt's.

    ProbeError, naming the probe, if the prompt's tokens are no prefix of the whole's, or if the continuation
    has none or too many.
    """
    what = f"probe {probe.prompt[-40:]!r} + {probe.continuation!r}"
    if not prompt or whole[: len(prompt)] != prompt:
        raise ProbeError(
            f"{what}: the prompt's {len(prompt)} tokens are not the first of the {len(whole)} of both texts "
            "together; expected a boundary of tokens between the two; begin the continuation with a blank, "
            "or move the boundary"
        )
    continuation = whole[len(prompt) :]
    if not 1 <= len(continuation) <= MAX_CONTINUATION:
        raise ProbeError(
            f"{what}: a continuation of {len(continuation)} tokens; expected 1 to {MAX_CONTINUATION}; choose "
            "another"
        )
    return Tokens(prompt=prompt, continuation=continuation)


def token_logprob(answer: Object, token: int) -> float:
    """Return this token's log-probability in a completion of one token, in nats. Raises ProbeError if it is
    not there, or is none.
    """
    try:
        found = float(answer["choices"][0]["logprobs"]["top_logprobs"][0][f"token_id:{token}"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ProbeError(
            f"top_logprobs: not as expected: {error!r}; expected an entry token_id:{token}; needs vLLM 0.32"
        ) from None
    if not math.isfinite(found) or found > ROUNDING:
        raise ProbeError(
            f"top_logprobs: found {found} for token {token}; expected a log-probability, finite and not "
            "over 0; run the engine with --logprobs-mode=raw_logprobs, vLLM's default"
        )
    return found

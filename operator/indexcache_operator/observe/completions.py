"""How likely an engine holds a fixed continuation of a prompt: the mean log-probability of its tokens, in nats.

Prompt and continuation are made into tokens apart, once, and asked of both pods as the same numbers, so that the pair differs in nothing
but the engine. Log-probabilities are those of prompt tokens (`prompt_logprobs`), as vLLM then reads nothing from its prefix cache: keys
made under the baseline before would hide what reuse does to a prefill. Costs: the answer has an entry for each prompt token, some 80
bytes each.
"""

import json
import secrets
from dataclasses import dataclass
from typing import Any

import aiohttp
from indexcache_core.contract import probe_request_id

TIMEOUT_SECONDS = 300.0
"""A long prefill behind users' requests."""
MAX_ANSWER = 64 * 1024 * 1024  # bytes


class ProbeError(Exception):
    """A probe that could not be asked, or whose answer makes no sense."""


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
    token: str
    """The control token: it marks a request as a probe, so that it doesn't count as traffic."""
    api_key: str | None = None

    async def model(self, ip: str) -> str:
        """The name under which an engine serves its model. ProbeError."""
        answer = await self._call("GET", ip, "/v1/models", None)
        try:
            return str(answer["data"][0]["id"])
        except (KeyError, IndexError, TypeError):
            raise ProbeError(f"{ip}: /v1/models names no model") from None

    async def tokens(self, ip: str, model: str, prompt: str, continuation: str) -> Tokens:
        """Both in tokens, special tokens before the prompt alone. ProbeError if the continuation has none."""

        async def of(text: str, special: bool) -> tuple[int, ...]:
            answer = await self._call("POST", ip, "/tokenize", {"model": model, "prompt": text, "add_special_tokens": special})
            return tuple(int(t) for t in answer.get("tokens", ()))

        found = Tokens(prompt=await of(prompt, True), continuation=await of(continuation, False))
        if not found.prompt or not found.continuation:
            raise ProbeError(f"{ip}: a probe's prompt or continuation has no tokens")
        return found

    async def logprob(self, ip: str, model: str, tokens: Tokens) -> float:
        """Mean log-probability of the continuation's tokens after the prompt, in nats. ProbeError."""
        body = {"model": model, "prompt": [*tokens.prompt, *tokens.continuation], "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        answer = await self._call("POST", ip, "/v1/completions", body)
        return mean_logprob(answer, tokens)

    async def _call(self, method: str, ip: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        host = f"[{ip}]" if ":" in ip else ip
        what = f"{method} {host}:{self.port}{path}"
        headers = {"X-Request-Id": probe_request_id(self.token, secrets.token_hex(8))}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=2)
        try:
            async with self.session.request(
                method, f"http://{host}:{self.port}{path}", json=body, headers=headers, timeout=timeout
            ) as answer:
                raw = bytearray()
                async for chunk in answer.content.iter_chunked(1 << 16):
                    raw += chunk
                    if len(raw) > MAX_ANSWER:
                        raise ProbeError(f"{what}: an answer of over {MAX_ANSWER} bytes")
                if answer.status != 200:
                    raise ProbeError(f"{what}: {answer.status}: {raw[:300].decode(errors='replace')}")
            found = json.loads(raw)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise ProbeError(f"{what}: {error or type(error).__name__}") from error
        if not isinstance(found, dict):
            raise ProbeError(f"{what}: an answer that is no object")
        return found


def mean_logprob(answer: dict[str, Any], tokens: Tokens) -> float:
    """The mean over the continuation's tokens in a completion's `prompt_logprobs`. ProbeError if they aren't there, one for each token."""
    try:
        entries = answer["choices"][0]["prompt_logprobs"]
        if len(entries) != len(tokens.prompt) + len(tokens.continuation):
            raise ProbeError(f"prompt_logprobs: {len(entries)} entries for {len(tokens.prompt) + len(tokens.continuation)} tokens")
        tail = entries[len(tokens.prompt) :]
        found = [float(entry[str(token)]["logprob"]) for entry, token in zip(tail, tokens.continuation, strict=True)]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ProbeError(f"prompt_logprobs: not as expected: {error!r}") from None
    return sum(found) / len(found)

"""Makes one HTTP call to a pod, bounded in time and in the size of its answer: a pod may answer anything."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

CHUNK = 1 << 16
"""Bytes read at once."""


class CallError(Exception):
    """A call that got no whole answer; its words say which call it was and why."""


class NoAnswer(CallError):
    """A call that nobody answered in time, as happens where a machine is busy."""


class TooLarge(Exception):
    """An answer that is larger than whoever asked allows."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call, and its bounds."""

    method: str
    host: str
    """An IP address, of version 4 or 6, or a name."""
    port: int
    path: str
    headers: Mapping[str, str]
    body: str | None = None
    """A text in JSON; None: none is sent."""
    timeout: aiohttp.ClientTimeout
    max_answer: int
    """In bytes."""

    def __str__(self) -> str:
        return f"{self.method} {self._authority}{self.path}"

    @property
    def url(self) -> URL:
        """Return the whole address, as it stands: to have an address of digits taken apart and put together
        again is a fourteenth of a call.
        """
        return URL.build(scheme="http", authority=self._authority, path=self.path, encoded=True)

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Holds what came back, whatever it says."""

    status: int
    body: bytes
    tag: str = ""
    """Its ETag, as it stands; empty without one."""


async def answer(session: aiohttp.ClientSession, call: Call) -> Answer:
    """Make a call and return its answer.

    A redirect is an answer like any other and is not followed; a compressed body stays compressed, since a
    small one may unfold to gigabytes.

    Raises NoAnswer if there is none in time, CallError for a call that can't be made and for a larger answer
    than the call allows: of that, no more is read than allowed.
    """
    headers = (
        dict(call.headers)
        | {"Accept-Encoding": "identity"}
        | ({"Content-Type": "application/json"} if call.body is not None else {})
    )
    try:
        sent = session.request(
            call.method,
            call.url,
            data=call.body,
            headers=headers,
            timeout=call.timeout,
            allow_redirects=False,
            auto_decompress=False,
        )
        async with sent as found:
            read = await body(found, call.max_answer)
            return Answer(status=found.status, body=read, tag=found.headers.get("ETag", ""))
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise NoAnswer(f"{call}: {str(error) or type(error).__name__}") from error
    except (TooLarge, ValueError) as error:  # ValueError: a header that can't be sent
        raise CallError(f"{call}: {error}") from error


async def body(found: aiohttp.ClientResponse, most: int) -> bytes:
    """Return what an answer holds. Raises TooLarge if that is more than `most` bytes: no more of it is read
    than that.
    """
    raw = bytearray()
    async for chunk in found.content.iter_chunked(CHUNK):
        raw += chunk
        if len(raw) > most:
            raise TooLarge(f"an answer of over {most} bytes")
    return bytes(raw)

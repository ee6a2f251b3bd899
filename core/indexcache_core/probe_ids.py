"""Names of probes' requests, by which engines know them, and what an engine tells of a name.

They are signed with the control port's token, so that nobody else can make one. A name may say on which side
of a pair its request is: computed all Full, or under reuse. All requests of one side of one pair have one
name, and an engine tells by it how much of them it computed under reuse.
"""

import hashlib
import hmac
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from indexcache_core import bounds

PROBE_PREFIX = "icprobe"


class Side(StrEnum):
    """Says how a probe wants to be computed."""

    FULL = "full"
    """All Full, in whatever mode."""
    REUSE = "reuse"
    """Under the pattern in force, in mode `on` as users are; in mode `shadow` in steps that hold nothing but
    such probes.
    """


class ProbeRun(BaseModel):
    """Says how one side of a pair of probes was computed, all its requests together, in a State."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(max_length=bounds.PROBE_NAME)]
    rows: int = 0
    """Query rows that reuse changes under the flags in force: of more than k tokens of context, in a step
    that the request alone takes over min_context_tokens.
    """
    reused: int = 0
    """Those of them that were computed under reuse. A side means something only if it is all of them, or
    none.
    """


def probe_request_id(token: str, nonce: str, side: Side | None = None) -> str:
    """Return an X-Request-Id that marks a request as the operator's probe: it is not counted as traffic."""
    name = nonce if side is None else sided(nonce, side)
    return f"{PROBE_PREFIX}-{name}-{_sign(token, name)}"


def sided(nonce: str, side: Side) -> str:
    """Return the name of one side of a pair of probes."""
    return f"{side}.{nonce}"


def probe_name(request_id: str, token: str) -> str | None:
    """Return the name that `probe_request_id` made this id of with this token; None if it didn't.

    An engine may put things before and after it.
    """
    _, found, rest = request_id.partition(PROBE_PREFIX + "-")
    parts = rest.split("-")
    # As bytes: whoever sends a request chooses its id, and compare_digest takes no other characters than
    # ASCII's.
    if (
        not found
        or len(parts) < 2
        or not hmac.compare_digest(_bytes(parts[1]), _bytes(_sign(token, parts[0])))
    ):
        return None
    return parts[0]


def is_probe(request_id: str, token: str) -> bool:
    """Return whether a request's id was made by `probe_request_id` with this token."""
    return probe_name(request_id, token) is not None


def side_of(name: str) -> Side | None:
    """Return which side of a pair a probe of this name is on; None: it is no part of one, and is computed as
    users' requests are.
    """
    return next((side for side in Side if name.startswith(f"{side}.")), None)


def _sign(token: str, nonce: str) -> str:
    return hmac.new(token.encode(), _bytes(f"probe {nonce}"), hashlib.sha256).hexdigest()[:16]


def _bytes(text: str) -> bytes:
    """Encode any text, lone surrogates as well."""
    return text.encode(errors="surrogatepass")

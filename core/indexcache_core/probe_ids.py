"""Names of probes' requests, by which engines know them.

They are signed with the control port's token, so that nobody else can make one.
"""

import hashlib
import hmac

PROBE_PREFIX = "icprobe"


def probe_request_id(token: str, nonce: str) -> str:
    """Return an X-Request-Id that marks a request as the operator's probe: it is not counted as traffic."""
    return f"{PROBE_PREFIX}-{nonce}-{_sign(token, nonce)}"


def is_probe(request_id: str, token: str) -> bool:
    """Return whether a request's id was made by `probe_request_id` with this token.

    An engine may put things before and after it.
    """
    _, found, rest = request_id.partition(PROBE_PREFIX + "-")
    parts = rest.split("-")
    # As bytes: whoever sends a request chooses its id, and compare_digest takes no other characters than
    # ASCII's.
    return (
        bool(found)
        and len(parts) >= 2
        and hmac.compare_digest(_bytes(parts[1]), _bytes(_sign(token, parts[0])))
    )


def _sign(token: str, nonce: str) -> str:
    return hmac.new(token.encode(), _bytes(f"probe {nonce}"), hashlib.sha256).hexdigest()[:16]


def _bytes(text: str) -> bytes:
    """Encode any text, lone surrogates as well."""
    return text.encode(errors="surrogatepass")

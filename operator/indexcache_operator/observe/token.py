"""The token of the engines' control ports, out of its Secret. Pure."""

import base64
import binascii

from indexcache_operator import names
from indexcache_operator.objects import Object


def read(secret: Object | None) -> str | None:
    """Return the token; None if there is none, or none that a request's header can carry."""
    encoded = ((secret or {}).get("data") or {}).get(names.TOKEN_KEY)
    if not isinstance(encoded, str):
        return None
    try:
        found = base64.b64decode(encoded, validate=True).decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return found if found.isprintable() and found else None

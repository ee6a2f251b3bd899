"""Short names for JSON values, by what they hold."""

import hashlib
import json


def digest(value: object, length: int) -> str:
    """Return the first `length` hex digits of the SHA-256 of a JSON value, whatever the order of its objects'
    keys.

    Raises TypeError for a value that JSON can't hold.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:length]

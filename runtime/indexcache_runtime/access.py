"""What opens the control port, from the environment: its token and its number. The engine core serves it, the
API server asks it."""

import os
from pathlib import Path

from indexcache_core.contract import CONTROL_PORT, PORT_ENV, TOKEN_FILE_ENV


class NoToken(Exception):
    """There is no token to guard the control port with; says why and what to do."""


def read_token(environ: dict[str, str] | None = None) -> str:
    """Return the control token, from the file that TOKEN_FILE_ENV names. Raises NoToken."""
    name = (os.environ if environ is None else environ).get(TOKEN_FILE_ENV, "")
    if not name:
        raise NoToken(
            f"{TOKEN_FILE_ENV} is not set; set it to the path of a file that holds the control token"
        )
    try:
        token = Path(name).read_text().strip()
    except OSError as e:
        raise NoToken(f"{TOKEN_FILE_ENV}={name}: {e.strerror}; mount the control token there") from e
    if not token:
        raise NoToken(f"{TOKEN_FILE_ENV}={name}: the file is empty; put the control token there")
    return token


def port(environ: dict[str, str] | None = None) -> int:
    """Return the control port, from PORT_ENV or the default. Raises ValueError."""
    value = (os.environ if environ is None else environ).get(PORT_ENV, str(CONTROL_PORT))
    if not value.isdecimal() or int(value) > 65535:
        raise ValueError(f"{PORT_ENV}={value!r}; expected a port, 0 to 65535")
    return int(value)

"""Reads what opens the control port, from the environment: its token and its number. The engine core serves
it, the API server asks it.

The token's file is a mounted Secret, which is replaced while the engine runs. It is looked at whenever the
token is asked for, and read when it has changed. Two processes read it, and the operator has its own copy, so
the old token stays valid for a while beside the new one. A file that can't be read takes nothing away: the
last good token stays.
"""

import hmac
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from indexcache_core.contract import CONTROL_PORT, PORT_ENV, TOKEN_FILE_ENV

logger = logging.getLogger(__name__)

OLD_TOKEN_SECONDS = 120.0
"""For which a token is valid after another has taken its place: more than the minute that a kubelet takes to
bring a changed Secret to all who mount it."""
MAX_TOKEN_BYTES = 4096
MAX_OLD = 8
"""Old tokens that are kept at most."""

Signature = tuple[int, int, int, int, int]


class NoToken(Exception):
    """Says why there is no token to guard the control port with, and what to do."""


class Credentials:
    """Holds the control token as its file has it, and those it had a while ago.

    One thread refreshes it, any may read `tokens`.
    """

    def __init__(
        self, token: str, path: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Hold the token, and follow its file at `path`; without one the token stays as it is. Raises
        ValueError if the token is empty."""
        if not token:
            raise ValueError("the control token is empty; an empty token would let anybody in")
        self._token, self._path, self._clock = token, path, clock
        self._old: tuple[tuple[str, float], ...] = ()
        self._signature: Signature | None = None
        self.problem: str | None = None
        """What is wrong with the file now; None: nothing."""

    @classmethod
    def from_environment(
        cls, environ: dict[str, str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> "Credentials":
        """Return the credentials in the file that TOKEN_FILE_ENV names. Raises NoToken."""
        name = (os.environ if environ is None else environ).get(TOKEN_FILE_ENV, "")
        if not name:
            raise NoToken(
                f"{TOKEN_FILE_ENV} is not set; set it to the path of a file that holds the control token"
            )
        token, signature = _read(Path(name))
        found = cls(token, Path(name), clock)
        found._signature = signature
        return found

    @property
    def token(self) -> str:
        """Return the newest token."""
        return self._token

    @property
    def tokens(self) -> tuple[str, ...]:
        """Return all that are valid, the newest first. Reads no file."""
        if not self._old:
            return (self._token,)
        now = self._clock()
        return (self._token, *(token for token, until in self._old if now < until))

    def refresh(self) -> None:
        """Read the file if it has changed. Never raises: what is wrong is logged once, and stands in
        `problem`."""
        if self._path is None:
            return
        try:
            if _signature(os.stat(self._path)) == self._signature:
                self._found(None)
                return
            token, self._signature = _read(self._path)
        except NoToken as e:
            self._found(str(e))
            return
        except (OSError, ValueError) as e:
            self._found(f"{TOKEN_FILE_ENV}={self._path}: {e}")
            return
        self._found(None)
        if token != self._token:
            now = self._clock()
            kept = [(t, until) for t, until in self._old if now < until and t not in (token, self._token)]
            self._old = ((self._token, now + OLD_TOKEN_SECONDS), *kept[: MAX_OLD - 1])
            self._token = token
            logger.warning(
                "indexcache: the control token was changed; the one before stays valid for %g s",
                OLD_TOKEN_SECONDS,
            )

    def admits(self, authorization: bytes) -> bool:
        """Return whether the value of an Authorization header, any bytes, shows a token that is valid now."""
        self.refresh()
        shown = [hmac.compare_digest(authorization, bearer(token)) for token in self.tokens]
        return any(shown)

    def _found(self, problem: str | None) -> None:
        if problem != self.problem:
            self.problem = problem
            if problem is not None:
                logger.error("indexcache: %s; the last good token stays valid", problem)
            else:
                logger.warning("indexcache: the control token can be read again")


def bearer(token: str) -> bytes:
    """Return the value of the Authorization header that shows a token."""
    return f"Bearer {token}".encode(errors="surrogatepass")


def _signature(found: os.stat_result) -> Signature:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: Path) -> tuple[str, Signature]:
    """Return the token in a file, and the state of the file it was read from. Raises NoToken."""
    named = f"{TOKEN_FILE_ENV}={path}"
    try:
        with path.open("rb", buffering=0) as file:
            signature = _signature(os.fstat(file.fileno()))
            raw = file.read(MAX_TOKEN_BYTES + 1) or b""
    except OSError as e:
        raise NoToken(f"{named}: {e.strerror}; mount the control token there") from e
    if len(raw) > MAX_TOKEN_BYTES:
        raise NoToken(
            f"{named}: more than {MAX_TOKEN_BYTES} bytes; put the control token there and nothing else"
        )
    try:
        token = raw.decode().strip()
    except UnicodeDecodeError as e:
        raise NoToken(
            f"{named}: not UTF-8 ({e.reason} at byte {e.start}); put the control token there as text"
        ) from e
    if not token:
        raise NoToken(f"{named}: the file is empty; put the control token there")
    if not token.isprintable() or " " in token:
        raise NoToken(f"{named}: several words or lines; put the control token there and nothing else")
    return token, signature


def port(environ: dict[str, str] | None = None) -> int:
    """Return the control port, from PORT_ENV or the default. Raises ValueError."""
    value = (os.environ if environ is None else environ).get(PORT_ENV, str(CONTROL_PORT))
    if not value.isdecimal() or int(value) > 65535:
        raise ValueError(f"{PORT_ENV}={value!r}; expected a port, 0 to 65535")
    return int(value)

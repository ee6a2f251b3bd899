"""The webhook's certificate and key, as their files have them: a renewed pair serves the next connection.

Invariants: a connection is served with a certificate and the key that belongs to it, never with one old and
one new; and a pair that is no pair leaves the one before in place. So a pair is loaded into a context of its
own, which serves from then on.
"""

import asyncio
import logging
import os
import ssl
from pathlib import Path

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 5.0

Pair = tuple[Path, Path]
"""The file of the certificate, with those that it leads to, and the file of its key."""
Signature = tuple[tuple[int, int, int, int], ...]


class BadCertificate(Exception):
    """Two files that are no certificate with its key; the message names them."""


class Certificates:
    """Holds the pair that is served."""

    def __init__(self, pair: Pair) -> None:
        """Read the pair of files. Raises BadCertificate."""
        self._pair = pair
        self._tried = _signature(pair)
        self._current = _loaded(pair)
        self.context = _loaded(pair)
        """Serves whichever pair is the newest."""
        self.context.sni_callback = self._choose  # called for each connection, whatever name it asks for

    def refresh(self) -> None:
        """Load the files if they have changed. Never raises: what is wrong with them is logged once."""
        signature = _signature(self._pair)
        if signature == self._tried:
            return
        self._tried = signature
        try:
            self._current = _loaded(self._pair)
        except BadCertificate as error:
            logger.error("%s; the certificate before is served on", error)
        else:
            logger.info("the webhook's certificate was read anew from %s", self._pair[0])

    async def follow(self) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            self.refresh()

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._current


def _loaded(pair: Pair) -> ssl.SSLContext:
    """Return a context with a pair. Raises BadCertificate."""
    certificate, key = pair
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # An empty password: without one, OpenSSL would ask a terminal for that of an encrypted key.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BadCertificate(
            f"{certificate}, {key}: found no certificate with its key ({error}); expected both as PEM, the "
            "key without a password; renew them"
        ) from error
    return context


def _signature(pair: Pair) -> Signature | None:
    """Return by what a change of the files is known; None if one isn't there."""
    try:
        found = [os.stat(path) for path in pair]
    except OSError:
        return None
    return tuple((f.st_dev, f.st_ino, f.st_size, f.st_mtime_ns) for f in found)

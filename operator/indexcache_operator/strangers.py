"""Keeps what strangers send to the webhook, and is no HTTP, out of the log: one of them could write it at
18 MB a second, and each line would hold all that was sent.
"""

import logging

from aiohttp.http_exceptions import HttpProcessingError

SERVER = "aiohttp.server"
"""The logger of aiohttp's server, to which it tells what its handlers raise as well."""


def is_told(record: logging.LogRecord) -> bool:
    """Return whether a record is for the log: all are, but those of bytes that are no request."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


def ignore() -> None:
    """Have their bytes told to nobody from here on."""
    server = logging.getLogger(SERVER)
    if is_told not in server.filters:
        server.addFilter(is_told)

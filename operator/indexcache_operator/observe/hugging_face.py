"""The model's config.json before any pod exists, from the hub that HF_ENDPOINT names; without one nothing is
asked and None is the answer.

A pattern that can't fit is then refused before gigabytes are loaded. What can't be fetched is no refusal: the
engine itself tells later.

Users choose the model's name, and whoever owns the model what the hub answers. So a name that isn't one of a
hub's is not asked for; an answer is bounded in size and in time, and a redirect is followed only within the
hub.
"""

import asyncio
import json
import logging
import re
import time
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import aiohttp

from indexcache_operator.http_calls import TooLarge, body

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
"""For all requests of one config together."""
RETRY_SECONDS = 300.0
MAX_ANSWER = 4 * 1024 * 1024  # bytes
MAX_REDIRECTS = 3
MAX_KNOWN = 256
"""Configs and failures kept, of so many models each; the oldest goes first."""
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(f"(?:{_PART}/)?{_PART}")


class HubError(Exception):
    """A hub that gave no config; its words say what was found and what was expected."""


class HuggingFace:
    """Holds configs by model name, fetched once; a failure is tried again after a while."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: str | None) -> None:
        self._session = session
        self._endpoint = endpoint.rstrip("/") if endpoint else None
        self._known: dict[str, dict[str, Any]] = {}
        self._failed: dict[str, float] = {}

    async def config(self, model: str) -> dict[str, Any] | None:
        """Return the model's config, if it can be read."""
        if self._endpoint is None or not is_name(model):
            return None
        if model not in self._known and time.monotonic() >= self._failed.get(model, 0.0):
            await self._fetch(url(self._endpoint, model), model)
        return self._known.get(model)

    async def _fetch(self, where: str, model: str) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                _keep(self._known, model, _config(await self._get(where)))
        except (HubError, TooLarge, TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            _keep(self._failed, model, time.monotonic() + RETRY_SECONDS)
            found = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            logger.warning(
                "config of model %s from %s: %s; the engine is asked instead, once it runs",
                model,
                where,
                found,
            )

    async def _get(self, where: str) -> bytes:
        """Return what the hub answers, redirects within it followed. Raises HubError, TooLarge, and what
        aiohttp does.
        """
        here = where
        for _ in range(MAX_REDIRECTS + 1):
            async with self._session.get(here, allow_redirects=False) as answer:
                if answer.status == 200:
                    return await body(answer, MAX_ANSWER)
                to = answer.headers.get("Location")
                if answer.status not in (301, 302, 303, 307, 308) or to is None:
                    raise HubError(f"found status {answer.status}; expected 200")
                here = urljoin(here, to)
            if _origin(here) != _origin(where):
                raise HubError(
                    f"found a redirect to {_origin(here)}; expected to stay at {_origin(where)}; set "
                    "HF_ENDPOINT to the hub itself"
                )
        raise HubError(f"found over {MAX_REDIRECTS} redirects; expected the file")


def is_name(model: str) -> bool:
    """Return whether a model's name is one that a hub may have, rather than a path in the engine's image or a
    volume.
    """
    return _NAME.fullmatch(model) is not None and ".." not in model and "--" not in model


def url(endpoint: str, model: str) -> str:
    """Return where a hub has a model's config. The name's parts are quoted, so that each stays one part of
    the path.
    """
    parts = "/".join(quote(part, safe="") for part in model.split("/"))
    return f"{endpoint}/{parts}/resolve/main/config.json"


def _origin(where: str) -> str:
    parts = urlsplit(where)
    return f"{parts.scheme}://{parts.netloc}"


def _config(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except RecursionError:
        raise HubError("found JSON nested too deeply; expected an object") from None
    if not isinstance(found, dict):
        raise HubError(f"found JSON of type {type(found).__name__}; expected an object")
    return found


def _keep(kept: dict[str, Any], model: str, value: Any) -> None:  # Any: a config, or a time
    kept[model] = value
    while len(kept) > MAX_KNOWN:
        del kept[next(iter(kept))]

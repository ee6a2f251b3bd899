"""The model's config.json before any pod exists, from the hub that HF_ENDPOINT names; without one nothing is asked and None is the answer.

A pattern that can't fit is then refused before gigabytes are loaded. What can't be fetched is no refusal: the engine itself tells later.
"""

import json
import logging
import re
import time
from typing import Any

import aiohttp

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
RETRY_SECONDS = 300.0
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


class Hub:
    """Configs by model name, fetched once; a failure is tried again after a while."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: str | None) -> None:
        self._session = session
        self._endpoint = endpoint.rstrip("/") if endpoint else None
        self._known: dict[str, dict[str, Any]] = {}
        self._failed: dict[str, float] = {}

    async def config(self, model: str) -> dict[str, Any] | None:
        """The model's config, if it can be read."""
        if self._endpoint is None or not _NAME.fullmatch(model):
            return None
        if model not in self._known and time.monotonic() >= self._failed.get(model, 0.0):
            await self._fetch(model)
        return self._known.get(model)

    async def _fetch(self, model: str) -> None:
        url = f"{self._endpoint}/{model}/resolve/main/config.json"
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as answer:
                answer.raise_for_status()
                found = json.loads(await answer.read())
            if not isinstance(found, dict):
                raise ValueError("no object")
            self._known[model] = found
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._failed[model] = time.monotonic() + RETRY_SECONDS
            logger.warning(
                "config of model %s from %s: %s; the engine is asked instead, once it runs", model, url, error or type(error).__name__
            )

"""The way in for Alertmanager, and the way to look at the operator itself: POST /alerts, GET /metrics, GET
/healthz, GET /readyz.

An alert that fires speaks of one revision of one rollout, by its labels `namespace`, `rollout`, `uid` and
`revision`; an alert of an older revision, of a rollout deleted and made again, or that is resolved does
nothing. Alertmanager delivers at least once and forgets what was answered with 2xx, so that answer is given
only when each intent to fall back is in its rollout's status; when one can't be written the answer is 503 and
Alertmanager comes again. Each alert of a payload is served by itself, whatever stands beside it.

Alive (/healthz) is the event loop that answers. Ready (/readyz) is an operator that reaches the API server
and knows the webhook's token. What goes wrong with one rollout is told by that rollout's conditions.
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field, ValidationError

from indexcache_operator import metrics
from indexcache_operator.alerts import Outcome, Receiver
from indexcache_operator.kube import KubeError
from indexcache_operator.observe.rollout import UnreadableStatus

logger = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024  # bytes
AT_ONCE = 8
"""Alerts of one payload that are served together."""
MALFORMED, NOT_PERSISTED, UNAUTHORIZED, NO_TOKEN = NOT_SERVED = (
    "malformed",
    "not_persisted",
    "unauthorized",
    "no_token",
)
"""What becomes of an alert that does nothing though it might have had to; an alert rule of the chart tells
people.
"""


class Alert(BaseModel):
    """An alert of a payload; fields that are not read are allowed, as versions of Alertmanager differ in
    them.
    """

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class Payload(BaseModel):
    """Holds Alertmanager's webhook payload, version 4. Its alerts are read one by one."""

    version: Literal["4"]
    alerts: Annotated[list[Any], Field(max_length=10_000)]  # Any: JSON


def application(
    receiver: Receiver, *, token: Callable[[], str], reachable: Callable[[], Awaitable[bool]]
) -> web.Application:
    """Return the web application.

    `token` is read at each request, so that it can be changed under way; without one nobody is let in, and
    Alertmanager comes again. `reachable` tells whether the API server answers.
    """
    for outcome in NOT_SERVED:
        metrics.ALERTS.labels(outcome)  # from zero on, or the first one would be no increase
    webhook = Webhook(receiver=receiver, token=token, reachable=reachable)
    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes(
        [
            web.post("/alerts", webhook.alerts),
            web.get("/healthz", webhook.health),
            web.get("/readyz", webhook.ready),
            web.get("/metrics", webhook.scrape),
        ]
    )
    return app


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Answers requests."""

    receiver: Receiver
    token: Callable[[], str]
    reachable: Callable[[], Awaitable[bool]]

    async def alerts(self, request: web.Request) -> web.Response:
        """Serve a payload, each of its alerts by itself."""
        _authorize(request, self.token)
        try:
            payload = Payload.model_validate_json(await request.read())
        except ValidationError as error:
            metrics.ALERTS.labels(MALFORMED).inc()
            return web.Response(
                status=422, text=f"{_where(error)}; expected Alertmanager's webhook payload, version 4\n"
            )
        together = asyncio.Semaphore(AT_ONCE)

        async def one(place: int, raw: Any) -> str:
            async with together:
                return await _serve(self.receiver, place, raw)

        outcomes = await asyncio.gather(*(one(place, raw) for place, raw in enumerate(payload.alerts)))
        malformed = [outcome for outcome in outcomes if outcome.startswith(MALFORMED)]
        if NOT_PERSISTED in outcomes:
            return web.Response(status=503, text="an intent could not be persisted; send it again\n")
        if malformed and len(malformed) == len(outcomes):
            return web.Response(status=422, text="\n".join(malformed) + "\n")
        return web.json_response({"outcomes": outcomes})

    async def health(self, _: web.Request) -> web.Response:
        """Answer, which says it all."""
        return web.Response(text="ok\n")

    async def ready(self, _: web.Request) -> web.Response:
        """Say whether alerts could be served now, and why not."""
        missing = []
        if _token(self.token) is None:
            missing.append("the webhook's token can't be read, or is empty")
        if not await self.reachable():
            missing.append("the API server doesn't answer")
        return (
            web.Response(status=503, text="; ".join(missing) + "\n") if missing else web.Response(text="ok\n")
        )

    async def scrape(self, _: web.Request) -> web.Response:
        """Return the operator's metrics."""
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _serve(receiver: Receiver, place: int, raw: Any) -> str:
    """Serve one alert, and return what became of it."""
    try:
        alert = Alert.model_validate(raw)
    except ValidationError as error:
        metrics.ALERTS.labels(MALFORMED).inc()
        found = f"{MALFORMED}: alerts.{place}.{_where(error)}"
        logger.warning("an alert that is none is left out: %s", found)
        return found
    try:
        outcome = (
            Outcome.RESOLVED
            if alert.status == "resolved"
            else await receiver.firing(alert.labels, alert.annotations)
        )
    except (KubeError, UnreadableStatus, aiohttp.ClientError, OSError, TimeoutError) as error:
        metrics.ALERTS.labels(NOT_PERSISTED).inc()
        logger.error("alert not persisted, Alertmanager is asked to come again: %s", error)
        return NOT_PERSISTED
    metrics.ALERTS.labels(outcome.value).inc()
    return outcome.value


def _where(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'body'}: {first['msg']}"


def _token(read: Callable[[], str]) -> str | None:
    """Return the token; None if there is none, or none that can be read."""
    try:
        return read() or None
    except (OSError, UnicodeDecodeError) as error:
        logger.error("the webhook's token can't be read: %s", error)
        return None


def _authorize(request: web.Request, read: Callable[[], str]) -> None:
    token = _token(read)
    if token is None:
        metrics.ALERTS.labels(NO_TOKEN).inc()
        raise web.HTTPServiceUnavailable(text="the operator has no token to compare with; send it again\n")
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(errors="surrogateescape"), f"Bearer {token}".encode()):
        metrics.ALERTS.labels(UNAUTHORIZED).inc()
        raise web.HTTPUnauthorized(text="missing or wrong token; send `Authorization: Bearer <token>`\n")

"""The way in for Alertmanager, and the way to look at the operator itself: POST /alerts, GET /metrics, GET /healthz.

An alert that fires speaks of one revision of one rollout, by its labels `namespace`, `rollout`, `uid` and `revision`; an alert of an
older revision, of a rollout deleted and made again, or that is resolved does nothing. Alertmanager delivers at least once and forgets
what was answered with 2xx, so that answer is given only when the intent to fall back is in the rollout's status; when it can't be written
the answer is 503 and Alertmanager comes again.
"""

import hmac
import logging
from collections.abc import Callable
from typing import Annotated, Literal

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


class Alert(BaseModel):
    """One alert of a payload; fields that are not read are allowed, as versions of Alertmanager differ in them."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class Payload(BaseModel):
    """Alertmanager's webhook payload, version 4."""

    version: Literal["4"]
    alerts: Annotated[list[Alert], Field(max_length=10_000)]


def application(receiver: Receiver, *, token: Callable[[], str], healthy: Callable[[], bool]) -> web.Application:
    """The web application. `token` is read at each request, so that it can be changed under way; an empty one lets nobody in."""

    async def alerts(request: web.Request) -> web.Response:
        _authorize(request, token())
        try:
            payload = Payload.model_validate_json(await request.read())
        except ValidationError as error:
            metrics.ALERTS.labels("malformed").inc()
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            return web.Response(status=422, text=f"{where}: {first['msg']}; expected Alertmanager's webhook payload, version 4\n")
        try:
            outcomes = [await _one(receiver, alert) for alert in payload.alerts]
        except (KubeError, UnreadableStatus, aiohttp.ClientError, OSError, TimeoutError) as error:
            metrics.ALERTS.labels("not_persisted").inc()
            logger.error("alert not persisted, Alertmanager is asked to come again: %s", error)
            return web.Response(status=503, text="the intent could not be persisted; send it again\n")
        return web.json_response({"outcomes": outcomes})

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if healthy() else web.Response(status=503, text="a rollout has had no successful look of late\n")

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes([web.post("/alerts", alerts), web.get("/healthz", health), web.get("/metrics", scrape)])
    return app


async def _one(receiver: Receiver, alert: Alert) -> str:
    outcome = Outcome.RESOLVED if alert.status == "resolved" else await receiver.firing(alert.labels, alert.annotations)
    metrics.ALERTS.labels(outcome.value).inc()
    return outcome.value


def _authorize(request: web.Request, token: str) -> None:
    given = request.headers.get("Authorization", "")
    if not token or not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        metrics.ALERTS.labels("unauthorized").inc()
        raise web.HTTPUnauthorized(text="missing or wrong token; send `Authorization: Bearer <token>`\n")

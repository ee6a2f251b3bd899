"""A thin client of the Kubernetes API: plain dictionaries in and out, errors that carry the API's own words.

It goes through `kubernetes.aio`'s dynamic client, without that client's discovery: the operator knows the
paths of the few kinds that it touches, and discovery would cost a start-up of many requests and a cache file
on a root file system that is read-only.

`kubernetes.aio` types nothing; this module is where its untyped values end.
"""

import copy
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.dynamic.client import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from indexcache_operator import metrics, names
from indexcache_operator.api.base import GROUP, VERSION
from indexcache_operator.mandate import UNBOUND, Mandate
from indexcache_operator.objects import Object

MERGE, JSON = "application/merge-patch+json", "application/json-patch+json"
TIMEOUT_SECONDS = 10.0
PAGE, SMALL_PAGE = 500, 100
CONNECTIONS = 32
"""To the API server, watches included. Each holds a fifth of a megabyte, and a request takes some
milliseconds.
"""
"""Objects of a list that come in one answer."""
REACHABLE_SECONDS = 10.0
"""How long an answer of the API server speaks for it."""
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeError(Exception):
    """The API refused a request. `status` is the HTTP status, `reason` the Status object's."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(KubeError):
    """Says that the API knows no such object (404)."""


class Conflict(KubeError):
    """Says that somebody else wrote first (409, or a JSON patch whose test failed, 422): look again."""


class _Answered:
    """Holds when the API server last answered."""

    at = -REACHABLE_SECONDS


class Kube:
    """Requests to one API server."""

    def __init__(self, client: ApiClient) -> None:
        self._client = DynamicClient(client)
        self._answered = _Answered()
        self._mandate = UNBOUND
        self.on_write: Callable[[str, Object], None] = _nobody
        """Told the path and the object as stored after each write."""

    def under(self, mandate: Mandate) -> "Kube":
        """Return a client of the same API server that writes under a mandate: once that is over, each write
        raises NotLeading instead, and one that is under way is given up.
        """
        bound = copy.copy(self)
        bound._mandate = mandate
        return bound

    async def get(self, path: str) -> Object:
        """Return one object. Raises NotFound."""
        return await self._request("get", path)

    async def select(self, path: str, selector: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects that carry these labels."""
        objects, _ = await self.listed(path, selector or {})
        return objects

    async def served(self, path: str) -> None:
        """Ask whether a collection is served. Raises NotFound, KubeError if it isn't."""
        await self._request("get", path, limit=1)

    async def listed(
        self,
        path: str,
        selector: Mapping[str, str | None],
        *,
        kept: Callable[[Object], Object] | None = None,
    ) -> tuple[list[Object], int]:
        """Return the objects that carry these labels, of any value where that is None, page by page, and the
        version at which they were listed, 0 if the API server tells none. `kept`: what is kept of each, so
        that no more than a page of whole ones is there at once.
        """
        objects: list[Object] = []
        more = ""
        while True:
            page = await self._request(
                "get",
                path,
                label_selector=_selector(selector),
                limit=PAGE if kept is None else SMALL_PAGE,
                **({"_continue": more} if more else {}),
            )
            kind = {
                "apiVersion": page.get("apiVersion"),
                "kind": str(page.get("kind", "")).removesuffix("List"),
            }
            whole = ({**kind, **item} for item in page.get("items") or [])
            objects += whole if kept is None else map(kept, whole)
            metadata = page.get("metadata") or {}
            more = metadata.get("continue") or ""
            if not more:
                return objects, int(metadata.get("resourceVersion") or 0)

    async def watch(
        self,
        path: str,
        selector: Mapping[str, str | None],
        *,
        version: int,
        seconds: int,
        silent_seconds: float,
    ) -> AsyncGenerator[Object, None]:
        """Yield the events since a version, until the API server ends the watch, after so many seconds.

        Raises TimeoutError after silence of `silent_seconds`, KubeError, and what a connection raises.
        """
        response = await self._response(
            "get",
            path,
            watch="true",
            label_selector=_selector(selector),
            resource_version=version,
            timeout_seconds=seconds,
            query_params=[("allowWatchBookmarks", "true")],
            serialize=False,
            _request_timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=TIMEOUT_SECONDS, sock_read=silent_seconds
            ),
        )
        async with response:
            async for line in response.content:
                yield _event(line)

    async def create(self, path: str, body: Object) -> Object:
        """Create a new object. Raises Conflict if it is there."""
        return await self._request("post", path, body=body, field_manager=names.FIELD_MANAGER)

    async def replace(self, path: str, body: Object) -> Object:
        """Replace the whole object; Conflict unless its metadata.resourceVersion is the present one."""
        return await self._request("put", path, body=body, field_manager=names.FIELD_MANAGER)

    async def apply(self, path: str, body: Object, *, dry_run: bool = False, force: bool = True) -> Object:
        """Apply an object server-side, as the operator's field manager; `force` takes fields over, which is
        right for objects that are ours alone.
        """
        extra = {"dry_run": "All"} if dry_run else {}
        return await self._request(
            "patch",
            path,
            body=body,
            content_type="application/apply-patch+yaml",
            field_manager=names.FIELD_MANAGER,
            force_conflicts=str(force).lower(),
            **extra,
        )

    async def patch(self, path: str, body: Object | list[Object], *, kind: str = MERGE) -> Object:
        """Send a merge patch or a JSON patch. A failed test is a Conflict."""
        return await self._request(
            "patch", path, body=body, content_type=kind, field_manager=names.FIELD_MANAGER
        )

    async def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete an object, with its dependents in the background; it is gone afterwards, or going. An object
        that isn't there is no error; one of another uid than this raises Conflict.
        """
        body = {} if uid is None else {"body": {"preconditions": {"uid": uid}}}
        try:
            await self._request("delete", path, propagation_policy="Background", **body)
        except NotFound:
            return

    async def reachable(self) -> bool:
        """Return whether the API server answers: it did of late, or does now."""
        if time.monotonic() - self._answered.at < REACHABLE_SECONDS:
            return True
        try:
            await self.get(f"/apis/{GROUP}/{VERSION}")
        except KubeError:
            return True  # an answer, too
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        return True

    async def _request(self, method: str, path: str, **params: Any) -> Object:
        """Make one request, and return the object that answers it."""
        written = method != "get" and "dry_run" not in params
        seconds = min(TIMEOUT_SECONDS, self._mandate.left()) if written else TIMEOUT_SECONDS
        found: Object = await self._response(
            method, path, query_params=[], serializer=_plain, _request_timeout=seconds, **params
        )
        if written and "resourceVersion" in (found.get("metadata") or {}):
            self.on_write(path, found)
        return found

    async def _response(self, method: str, path: str, **params: Any) -> Any:  # Any: of kubernetes.aio
        """Make one request. Whoever made the path, it leads nowhere but where it says: InvalidName else."""
        names.checked_path(path)
        metrics.API_REQUESTS.labels("watch" if "watch" in params else method).inc()
        try:
            found = await self._client.request(method, path, header_params={}, **params)
        except DynamicApiError as error:
            self._answered.at = time.monotonic()
            raise _error(
                error, f"{method.upper()} {path}", tests=params.get("content_type") == JSON
            ) from None
        self._answered.at = time.monotonic()
        return found


def _nobody(_: str, __: Object) -> None:
    """Take no notice of a write."""


def _selector(labels: Mapping[str, str | None]) -> str | None:
    return ",".join(name if value is None else f"{name}={value}" for name, value in labels.items()) or None


def _event(line: bytes) -> Object:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise KubeError(0, "BadEvent", f"found {line[:80]!r} in a watch; expected an event")
    return event


def _plain(_: Any, data: Object) -> Object:
    return data


def _error(error: DynamicApiError, what: str, *, tests: bool) -> KubeError:
    try:
        body = json.loads(error.body or "{}")
    except (ValueError, TypeError):
        body = {}
    causes = (body.get("details") or {}).get("causes") or []
    message = f"{what}: {body.get('message') or error.reason}"
    reason = body.get("reason") or str(error.reason)
    if error.status == 404:
        return NotFound(error.status, reason, message)
    # A failed test of a JSON patch is a 422 that names no field, but for the words of the patch library.
    failed_test = tests and error.status == 422 and not any(c.get("field") for c in causes)
    if error.status == 409 or failed_test:
        words = "; ".join(c["message"] for c in causes if c.get("message"))
        return Conflict(error.status, reason, f"{message} ({words})" if words else message)
    return KubeError(error.status, reason, message)


@asynccontextmanager
async def connect() -> AsyncIterator[Kube]:
    """Connect by the pod's service account, or else by KUBECONFIG; yield the client."""
    configuration = Configuration()
    configuration.connection_pool_maxsize = CONNECTIONS
    if (_SERVICE_ACCOUNT / "token").exists():
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(client_configuration=configuration)
    async with ApiClient(configuration=configuration) as client:
        yield Kube(client)

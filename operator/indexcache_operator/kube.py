"""A thin client of the Kubernetes API: plain dictionaries in and out, errors that carry the API's own words.

It goes through `kubernetes.aio`'s dynamic client, without that client's discovery: the operator knows the
paths of the few kinds that it touches, and discovery would cost a start-up of many requests and a cache file
on a root file system that is read-only.

`kubernetes.aio` types nothing; this module is where its untyped values end.
"""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.dynamic.client import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from indexcache_operator import names
from indexcache_operator.api.base import GROUP, VERSION
from indexcache_operator.objects import Object

MERGE, JSON = "application/merge-patch+json", "application/json-patch+json"
TIMEOUT_SECONDS = 10.0
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


class Kube:
    """Requests to one API server."""

    def __init__(self, client: ApiClient) -> None:
        self._client = DynamicClient(client)
        self._answered = -REACHABLE_SECONDS

    async def get(self, path: str) -> Object:
        """Return one object. Raises NotFound."""
        return await self._request("get", path)

    async def select(self, path: str, selector: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects that carry these labels."""
        found = await self._request(
            "get", path, label_selector=",".join(f"{k}={v}" for k, v in (selector or {}).items()) or None
        )
        items: list[Object] = found.get("items", [])
        return items

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

    async def delete(self, path: str) -> None:
        """Delete an object, with its dependents in the background; it is gone afterwards, or going. An object
        that isn't there is no error.
        """
        try:
            await self._request("delete", path, propagation_policy="Background")
        except NotFound:
            return

    async def reachable(self) -> bool:
        """Return whether the API server answers: it did of late, or does now."""
        if time.monotonic() - self._answered < REACHABLE_SECONDS:
            return True
        try:
            await self.get(f"/apis/{GROUP}/{VERSION}")
        except KubeError:
            return True  # an answer, too
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        return True

    async def _request(self, method: str, path: str, **params: Any) -> Object:
        """Make one request. Whoever made the path, it leads nowhere but where it says: InvalidName else."""
        names.checked_path(path)
        try:
            found: Object = await self._client.request(
                method,
                path,
                query_params=[],
                header_params={},
                serializer=_plain,
                _request_timeout=TIMEOUT_SECONDS,
                **params,
            )
        except DynamicApiError as error:
            self._answered = time.monotonic()
            raise _error(
                error, f"{method.upper()} {path}", tests=params.get("content_type") == JSON
            ) from None
        self._answered = time.monotonic()
        return found


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
    if (_SERVICE_ACCOUNT / "token").exists():
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(client_configuration=configuration)
    async with ApiClient(configuration=configuration) as client:
        yield Kube(client)

"""The client of the API under a mandate: what writes asks it, what reads doesn't, and no call is without an
end.
"""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_operator.kube import TIMEOUT_SECONDS, Kube
from indexcache_operator.mandate import Lead, NotLeading

PATH = "/api/v1/namespaces/ns/pods/p"
STORED = {"metadata": {"name": "p", "resourceVersion": "7"}}


class Transport:
    """Stands where the HTTP client is, and keeps for how long each request may take."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def request(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        self.seconds.append(params["_request_timeout"])
        return STORED


def client() -> tuple[Kube, Transport]:
    configured: Any = SimpleNamespace(configuration=None)
    kube, transport = Kube(configured), Transport()
    there: Any = transport
    kube._client = there
    return kube, transport


WRITES: dict[str, Callable[[Kube], Awaitable[Any]]] = {
    "create": lambda kube: kube.create(PATH, {}),
    "replace": lambda kube: kube.replace(PATH, {}),
    "apply": lambda kube: kube.apply(PATH, {}),
    "patch": lambda kube: kube.patch(PATH, {}),
    "delete": lambda kube: kube.delete(PATH, uid="u"),
}
READS: dict[str, Callable[[Kube], Awaitable[Any]]] = {
    "get": lambda kube: kube.get(PATH),
    "select": lambda kube: kube.select(PATH),
    "dry run": lambda kube: kube.apply(PATH, {}, dry_run=True),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_is_sent_only_while_its_mandate_holds_and_takes_no_longer_than_that(write: str) -> None:
    now = [100.0]
    lead = Lead(lambda: now[0])
    lead.hold(1, 104.0)
    mandate = lead.mandate()
    assert mandate is not None
    kube, transport = client()
    bound = kube.under(mandate)
    await WRITES[write](bound)
    assert transport.seconds == [4.0]
    now[0] = 104.0
    with pytest.raises(NotLeading):
        await WRITES[write](bound)
    await WRITES[write](kube)  # the client that it was made of is bound by nothing
    assert transport.seconds == [4.0, TIMEOUT_SECONDS]


@pytest.mark.parametrize("read", READS)
async def test_a_read_needs_none(read: str) -> None:
    lead = Lead()
    lead.hold(1, float("inf"))
    mandate = lead.mandate()
    assert mandate is not None
    lead.lose()
    kube, transport = client()
    await READS[read](kube.under(mandate))
    assert transport.seconds == [TIMEOUT_SECONDS]


async def test_an_answer_to_any_of_both_speaks_for_the_api_server_and_is_told_to_those_who_listen() -> None:
    kube, _ = client()
    heard: list[str] = []
    kube.on_write = lambda path, stored: heard.append(path)
    lead = Lead()
    lead.hold(1, float("inf"))
    mandate = lead.mandate()
    assert mandate is not None
    await kube.under(mandate).patch(PATH, {})
    assert heard == [PATH]
    assert await kube.reachable()
    assert kube._answered.at > 0

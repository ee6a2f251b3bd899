"""What is being tried, by name: a hash of what an engine computes with, not of how many engines there are or who judges them."""

from collections.abc import Mapping

from indexcache_core.digest import digest

from indexcache_operator.api.base import GROUP
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Rejected, Status

KILL = f"{GROUP}/kill"
"""Annotation: everything to the baseline at once, if its value is the present revision."""
RETRY = f"{GROUP}/retry"
"""Annotation: try a rejected revision again. Each value works once: "<revision>", later "<revision>/2" and so on."""


def revision(spec: Spec) -> str:
    """Return ten hex digits over engine (without replicas) and indexCache."""
    what = {
        "engine": spec.engine.model_dump(mode="json", exclude={"replicas"}),
        "indexCache": spec.index_cache.model_dump(mode="json"),
    }
    return digest(what, 10)


def killed(annotations: Mapping[str, str], name: str) -> bool:
    """Return whether somebody wants this revision off now."""
    return bool(name) and annotations.get(KILL) == name


def rejection(status: Status, name: str) -> Rejected | None:
    """Return why the revision isn't tried; None if it wasn't rejected."""
    return next((r for r in status.rejected if r.revision == name), None)


def retry_allowed(annotations: Mapping[str, str], rejected: Rejected) -> bool:
    """Return whether the retry annotation speaks of this revision and wasn't used up by an earlier try."""
    value = annotations.get(RETRY, "")
    return value.split("/")[0] == rejected.revision and value != rejected.retried

"""Names what is being tried, by name: a hash of what an engine computes with, not of how many engines there
are or who judges them.
"""

from collections.abc import Callable, Mapping

from indexcache_core import arguments
from indexcache_core.digest import digest

from indexcache_operator.api.base import GROUP
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import Rejected, Status

KILL = f"{GROUP}/kill"
"""Annotation: everything to the baseline at once, if its value is the present revision, or EVERYTHING."""
EVERYTHING = "true"
"""Value of KILL: whatever revision runs, and none is tried while it stands."""
RETRY = f"{GROUP}/retry"
"""Annotation: try a rejected revision again. Each value works once: "<revision>", later "<revision>/2" and so
on.
"""


def revision(spec: Spec, *known: str, pinned: str = "") -> str:
    """Return the name of what a spec asks for: ten hex digits over engine (without replicas) and indexCache.

    What is written in two ways has one name (`8` and `"8"` of a resource, `--a=b` and `--a b`), and a field
    at its default has none, so that a new field with a default changes no name. `known`: names in the status,
    of what is tried and of what was rejected; one of them stays what this is called if a released version
    called it so. `pinned`: the plugin's image where none is named; to name it changes nothing.
    """
    if pinned and spec.engine.runtime == pinned:
        # Copies of models that were validated when they were read, with the field's own default.
        spec = spec.model_copy(update={"engine": spec.engine.model_copy(update={"runtime": None})})
    names = [name(spec) for name in NAMINGS]
    return next((name for name in known if name in names), names[0])


def _name(spec: Spec) -> str:
    engine = spec.engine.model_dump(mode="json", exclude={"replicas"}, exclude_defaults=True)
    for field in ("command", "args"):
        if field in engine:
            engine[field] = arguments.canonical(engine[field])
    if "resources" in engine:
        engine["resources"] = _quantities(engine["resources"])
    return digest(
        {"engine": engine, "indexCache": spec.index_cache.model_dump(mode="json", exclude_defaults=True)}, 10
    )


def _quantities(value: object) -> object:
    if isinstance(value, dict):
        return {key: _quantities(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_quantities(part) for part in value]
    return (
        f"{value:g}" if isinstance(value, float) else value if isinstance(value, bool | None) else str(value)
    )


NAMINGS: tuple[Callable[[Spec], str], ...] = (_name,)
"""How released versions named revisions, the present one first. A name that stands in a status is recognised
by all of them.
"""


def killed(annotations: Mapping[str, str], name: str) -> bool:
    """Return whether somebody wants this revision off now. Blanks and capitals don't keep an emergency from
    being one.
    """
    value = annotations.get(KILL, "").strip()
    return bool(name) and (value == name or value.lower() == EVERYTHING)


def rejection(status: Status, name: str) -> Rejected | None:
    """Return why the revision isn't tried; None if it wasn't rejected."""
    return next((r for r in status.rejected if r.revision == name), None)


def retry_allowed(annotations: Mapping[str, str], name: str, used: str) -> bool:
    """Return whether the retry annotation speaks of this revision and wasn't used up by an earlier try."""
    value = annotations.get(RETRY, "")
    return value.split("/")[0] == name and value != used


def used_retry(status: Status, name: str) -> str:
    """Return the value of the retry annotation that this revision has used up; empty without one."""
    rejected = rejection(status, name)
    if rejected is not None:
        return rejected.retried
    if name != status.revision:
        return ""
    ended = status.fallback if status.fallback and status.fallback.revision == name else status.hold
    return ended.retried if ended else ""


def next_retry(used: str, name: str) -> str:
    """Return the value of the retry annotation that tries a revision again: its name, or a number that wasn't
    used yet.
    """
    if not used:
        return name
    number = used.partition("/")[2]
    return f"{name}/{int(number) + 1 if number.isdecimal() and len(number) < 10 else 2}"

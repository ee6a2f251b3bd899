"""Probes out of a ConfigMap: key `probes.jsonl`, lines of {"prompt", "continuation", "contextTokens"}. Pure.

A file with one bad line is refused whole: probes left out in silence would make the evidence speak of another
distribution. Only an engine can count a continuation's tokens; here one of more words than it may have tokens
is refused, as it has more tokens too.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from indexcache_operator.model import MAX_CONTINUATION, Probe, ProbeSet
from indexcache_operator.objects import Object
from indexcache_operator.observe.rollout import words

KEY = "probes.jsonl"


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    prompt: Annotated[str, Field(min_length=1)]
    continuation: Annotated[str, Field(min_length=1)]
    contextTokens: Annotated[int, Field(ge=1)]


FIELD = "spec.guardrails.quality.probes.configMap"


def read(raw: Object | None, name: str, namespace: str) -> ProbeSet:
    """Return the probes of a ConfigMap, or why there are none; `raw` None: there is none of that name."""
    if raw is None:
        where = f"no ConfigMap {name} in namespace {namespace}"
        return _none(f"found {where}; expected one with the key {KEY}; create it")
    text = (raw.get("data") or {}).get(KEY)
    if text is None:
        keys = ", ".join(sorted(raw.get("data") or {})) or "none"
        return _none(f"found keys {keys} in ConfigMap {name}; expected the key {KEY}; add it")
    probes = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        probe = _probe(line)
        if isinstance(probe, str):
            return _none(f"{KEY} line {number} of ConfigMap {name}: {probe}")
        probes.append(probe)
    if not probes:
        return _none(f"found no probe in {KEY} of ConfigMap {name}; expected at least one line; add some")
    return ProbeSet(probes=tuple(probes))


def _none(why: str) -> ProbeSet:
    return ProbeSet(problem=f"{FIELD}: {why}")


def _probe(line: str) -> Probe | str:
    """Return the probe of a line, or why it is none."""
    try:
        item = _Line.model_validate_json(line)
    except ValidationError as error:
        found = "; ".join(words(error, "line"))
        expected = "an object with the texts prompt and continuation and the number contextTokens"
        return f"{found}; expected {expected}; correct it"
    if (length := len(item.continuation.split())) > MAX_CONTINUATION:
        found = f"a continuation of {length} words"
        return f"found {found}; expected at most {MAX_CONTINUATION} tokens; shorten it"
    return Probe(prompt=item.prompt, continuation=item.continuation, context_tokens=item.contextTokens)

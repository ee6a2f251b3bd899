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


def read(raw: Object | None, name: str, namespace: str) -> ProbeSet:
    """The probes of a ConfigMap; `raw` None: there is none of that name."""
    field = "spec.guardrails.quality.probes.configMap"
    if raw is None:
        return ProbeSet(
            problem=f"{field}: found no ConfigMap {name} in namespace {namespace}; expected one with the key "
            f"{KEY}; create it"
        )
    text = (raw.get("data") or {}).get(KEY)
    if text is None:
        keys = ", ".join(sorted(raw.get("data") or {})) or "none"
        return ProbeSet(
            problem=f"{field}: found keys {keys} in ConfigMap {name}; expected the key {KEY}; add it"
        )
    probes = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            item = _Line.model_validate_json(line)
        except ValidationError as error:
            found = "; ".join(words(error, "line"))
            return ProbeSet(
                problem=f"{field}: {KEY} line {number} of ConfigMap {name}: {found}; expected an object with "
                "the texts prompt and "
                "continuation and the number contextTokens; correct it"
            )
        if (length := len(item.continuation.split())) > MAX_CONTINUATION:
            return ProbeSet(
                problem=f"{field}: {KEY} line {number} of ConfigMap {name}: found a continuation of {length} "
                "words; expected at most "
                f"{MAX_CONTINUATION} tokens; shorten it"
            )
        probes.append(
            Probe(prompt=item.prompt, continuation=item.continuation, context_tokens=item.contextTokens)
        )
    if not probes:
        return ProbeSet(
            problem=f"{field}: found no probe in {KEY} of ConfigMap {name}; expected at least one line; add "
            "some"
        )
    return ProbeSet(probes=tuple(probes))

"""Tests what engines count: nothing is known of an engine that says nothing."""

import pytest
from indexcache_core import counted
from indexcache_core.contexts import CONTEXT_ENDS_IN_K
from pydantic import ValidationError


def test_contexts_are_counted_by_bucket() -> None:
    none = counted.Requests()
    buckets = len(CONTEXT_ENDS_IN_K) + 1
    for found in (none.contexts, none.recent, none.recent_decoding):
        assert (len(found), sum(found)) == (buckets, 0)


@pytest.mark.parametrize(
    "model", [counted.Requests, counted.Steps, counted.Cache, counted.StepTime, counted.DeviceUse]
)
def test_a_field_that_is_not_known_is_refused_and_none_has_to_be_said(model: type[counted.Model]) -> None:
    assert not any(value for value in model().model_dump().values() if not isinstance(value, tuple))
    with pytest.raises(ValidationError, match="later"):
        model.model_validate({"later": 1})

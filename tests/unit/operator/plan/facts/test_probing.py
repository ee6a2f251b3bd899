"""Tests what is remembered of probes: a new memory knows of none, and keeps apart what its tests count."""

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest
from indexcache_operator.plan.facts.probing import Asked, Probing


def test_before_any_probe_nothing_is_known() -> None:
    new = Probing()
    assert (new.asked, new.failed, new.kept.count, new.seconds) == (0, 0, 0, 0.0)
    assert (dict(new.uncounted), dict(new.last)) == ({}, {})
    assert new.detector is None
    assert new.before is None


def test_it_is_handed_on_and_never_changed() -> None:
    asked = Asked(ended=datetime(2026, 1, 1, tzinfo=UTC), seconds=2.0)
    assert asked.in_vain == 0
    with pytest.raises(FrozenInstanceError):
        asked.in_vain = 1  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Probing().asked = 1  # type: ignore[misc]

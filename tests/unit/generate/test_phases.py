"""Tests that the diagram of phases is the planner's own table."""

from indexcache_operator.api.status import Phase

from scripts.generate import phases


def test_the_page_is_current() -> None:
    assert phases.render() == {phases.PAGE: phases.PAGE.read_text()}, "run `make generate`"


def test_each_way_is_an_arrow_with_what_it_takes() -> None:
    lines = phases.diagram().splitlines()
    assert "  Canary --> Promoting: last step certified under reuse" in lines
    assert "  Canary --> FallingBack: progressDeadline: held, or a cause from outside" in lines
    assert "  Promoted --> FallingBack: a cause from outside" in lines
    assert (Phase.PENDING, Phase.FALLING_BACK) not in phases.ways()

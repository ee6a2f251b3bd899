"""Tests which weights engines serve, as they say."""

import pytest
from indexcache_operator.plan.facts import checkpoint

from tests.unit.operator.plan.build import engine, pod, snapshot, status


@pytest.mark.parametrize(
    ("pods", "sole"),
    [
        ((pod("a", engine(checkpoint="x")), pod("b", engine(checkpoint="x"))), "x"),
        ((pod("a", engine(checkpoint="x")), pod("b", engine())), "x"),
        ((pod("a", engine(checkpoint="x")), pod("b", None)), "x"),
        ((pod("a", engine(checkpoint="x")), pod("b", engine(checkpoint="y"))), ""),
        ((pod("a", engine(checkpoint="x")), pod("b", engine(checkpoint="y"), deleting=True)), "x"),
        ((pod("a", engine(checkpoint="x")), pod("b", engine(checkpoint="y"), current=False)), "x"),
        ((pod("a", engine()),), ""),
        ((), ""),
    ],
)
def test_what_all_serve(pods: tuple[object, ...], sole: str) -> None:
    assert checkpoint.sole(snapshot(*pods)) == sole  # type: ignore[arg-type]


def test_engines_that_differ_are_named_by_one_pod_each() -> None:
    seen = snapshot(*(pod(name, engine(checkpoint=name[0])) for name in ("x1", "x2", "y1")))
    said = checkpoint.differing(seen)
    assert said == (
        "found different checkpoints under spec.engine.model: y by pod y1, x by pod x1; expected one; "
        "restart the others"
    )
    assert checkpoint.differing(snapshot(pod("x1", engine(checkpoint="x")), pod("b", engine()))) is None


@pytest.mark.parametrize(
    ("tried", "serve", "said"),
    [
        ("x", ["x", "x"], None),
        ("x", ["x", ""], None),
        ("", ["x", "x"], None),
        ("", ["x", "y"], "found different checkpoints"),
        ("x", ["x", "y"], "pod b serves checkpoint y under spec.engine.model, this try is about x;"),
        ("x", ["y", "y"], "pod a serves checkpoint y under spec.engine.model, this try is about x;"),
    ],
)
def test_another_than_the_one_that_is_tried(tried: str, serve: list[str], said: str | None) -> None:
    seen = snapshot(*(pod(name, engine(checkpoint=c)) for name, c in zip("ab", serve, strict=True)))
    found = checkpoint.replaced(seen, status(checkpoint=tried))
    assert found is None if said is None else (found or "").startswith(said)

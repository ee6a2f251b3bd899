"""The benchmark of whole rollouts plays the operator's plan, and its picture shows what it traced."""

import random
from datetime import timedelta
from statistics import fmean
from typing import Any
from xml.etree import ElementTree

import pytest
from indexcache_operator.api.status import Phase

from benchmarks import rollouts
from benchmarks.evidence_picture import BANDS, picture

SVG = "{http://www.w3.org/2000/svg}"


def look(minutes: float, phase: str, **more: Any) -> dict[str, Any]:
    known = {
        "step": None,
        "for": 1.0,
        "for_limit": 4.9,
        "against": -0.7,
        "against_limit": 7.3,
        "fallen": False,
    }
    return {"minutes": minutes, "phase": phase, **known, **more}


TRACE = [
    look(0, "Pending", **{"for": 0.0, "against": None, "against_limit": None}),
    look(1, "Shadowing"),
    look(9, "Shadowing", **{"for": 6.0}),
    look(10, "Canary", step=5, **{"for": 0.0}),
    look(40, "Canary", step=5, **{"for": 5.0}),
    look(41, "Promoted", **{"for": 30.0}),
    look(60, "Promoted", **{"for": 40.0}),
    look(61, "Promoted", fallen=True, against=2.0),
    look(70, "FallingBack", fallen=True, against=7.5, against_limit=None),
]


def test_a_good_pattern_is_promoted_and_its_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "A_LOOK", 20.0)
    ended, hours, spent = rollouts.play(600.0, 1)
    assert ended == Phase.PROMOTED
    assert set(spent) >= {rollouts.SHADOW, rollouts.STEPS}
    assert sum(spent.values()) == pytest.approx(hours)


def test_where_nobody_asks_nothing_is_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "LONGEST", timedelta(minutes=30))
    ended, _, spent = rollouts.play(0.001, 1)
    assert ended == Phase.SHADOWING
    assert set(spent) == {rollouts.SHADOW, rollouts.PROMOTING}


def test_arrivals_have_their_mean() -> None:
    rng = random.Random(2)
    assert fmean(rollouts._poisson(rng, 0.5) for _ in range(20_000)) == pytest.approx(0.5, abs=0.03)


def test_the_looks_that_are_kept_have_each_change() -> None:
    looks = [look(i, "Shadowing" if i < 700 else "Canary", step=None if i < 700 else 5) for i in range(2000)]
    kept = rollouts._thinned(looks)
    assert {0, 700, 1999} <= {entry["minutes"] for entry in kept}
    assert len(kept) < 300


def test_the_picture_has_a_band_for_each_phase_and_the_evidence_over_them() -> None:
    drawn = ElementTree.fromstring(picture(TRACE))
    words = {text.text for text in drawn.iter(f"{SVG}text")}
    assert {"shadow", "5 %", "promoted", "fallingback", "recall falls here"} - words == {"fallingback"}
    fills = {rect.get("fill") for rect in drawn.iter(f"{SVG}rect")}
    assert {BANDS["Shadowing"], BANDS["Canary"], BANDS["Promoted"]} <= fills
    # What is for it begins anew where users are exposed; what is against it does not.
    lines = [line.get("stroke") for line in drawn.iter(f"{SVG}polyline")]
    assert len(lines) == 3
    assert len(set(lines)) == 2


def test_evidence_beyond_the_axis_is_drawn_at_its_edge() -> None:
    drawn = ElementTree.fromstring(picture(TRACE))
    heights = [
        float(point.split(",")[1])
        for line in drawn.iter(f"{SVG}polyline")
        for point in str(line.get("points")).split()
    ]
    assert min(heights) >= 56
    assert max(heights) <= 420 - 48

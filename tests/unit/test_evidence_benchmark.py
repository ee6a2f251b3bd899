"""The benchmark of the evidence plays the bets that operator and engines place, and judges what it sees."""

import math

import numpy as np
import pytest
from indexcache_core.evidence import certificate, detector
from indexcache_core.evidence.verdict import log_limit
from indexcache_core.histogram import Histogram, of

from benchmarks import evidence
from benchmarks.evidence_bets import Certificates, Detectors, exact_interval

THRESHOLD = 0.5


def streams(runs: int = 3, requests: int = 60) -> evidence.Array:
    return np.random.default_rng(3).uniform(0.0, 1.0, (runs, requests, 2)) ** 2


@pytest.mark.parametrize("at_once", [1, 7])
@pytest.mark.parametrize("limit", [1.0, 3.0, 99.0])
def test_many_detectors_find_what_one_finds(at_once: int, limit: float) -> None:
    values = streams()
    found = Detectors(values, THRESHOLD).play(limit, at_once)
    for run, test in np.ndindex(found.shape):
        one, expected = detector.fresh(), -1
        for slot, start in enumerate(range(0, values.shape[1], at_once), 2):
            batch = values[run, start : start + at_once, test]
            one = one.after(of(list(batch)), THRESHOLD, slot)
            if expected < 0 and detector.log_e([one, detector.fresh()]) >= limit:
                expected = start + len(batch) - 1
        assert found[run, test] == expected
    assert (found >= 0).any() == (limit < 99)


@pytest.mark.parametrize("at_once", [1, 7])
def test_many_certificates_have_the_wealth_of_each(at_once: int) -> None:
    values = 1.0 - streams()
    wealth = Certificates(values, THRESHOLD).play(at_once)
    for run, test in np.ndindex(values.shape[0], values.shape[2]):
        seen = Histogram()
        for look, start in enumerate(range(0, values.shape[1], at_once)):
            seen = seen.plus(of(list(values[run, start : start + at_once, test])))
            assert wealth[run, look, test] == pytest.approx(certificate.log_certificate(seen, THRESHOLD))


@pytest.mark.parametrize(
    ("errors", "runs", "expected"),
    [(0, 1000, (0.0, 0.00368)), (10, 10, (0.69150, 1.0)), (5, 100, (0.01643, 0.11284))],
)
def test_the_exact_interval_of_a_share(errors: int, runs: int, expected: tuple[float, float]) -> None:
    assert exact_interval(errors, runs) == pytest.approx(expected, abs=2e-5)


def test_requests_are_what_they_are_said_to_be() -> None:
    rng = np.random.default_rng(5)
    values = evidence.requests(rng, 50, 400, 0.46, 80, 5)
    assert values.shape == (50, 400, 1 + evidence.SITES)
    assert values[:, :, 0] == pytest.approx(values[:, :, 1:].mean(axis=2), abs=0.02)  # but for clipping
    assert float(values.mean()) == pytest.approx(0.46, abs=0.01)
    assert float(values[:, ::5, 0].std()) == pytest.approx(evidence.BETWEEN, abs=0.01)
    turns = values[:, :, 0].reshape(50, 80, 5)
    assert float(turns.std(axis=2).mean()) < 0.01  # those of one cluster agree


@pytest.mark.simulation
@pytest.mark.parametrize("cell", [(400, 1, 1), (80, 8, 5)])
def test_a_healthy_pattern_is_not_stopped_and_a_bad_one_not_certified(cell: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(6)
    assert evidence.stopped(rng, 40, evidence.THRESHOLD + 0.10, cell).sum() == 0
    assert evidence.stopped(rng, 20, evidence.THRESHOLD - 0.20, cell).all()
    assert evidence.certified(rng, 40, evidence.THRESHOLD - 0.02, cell).sum() <= 6
    assert evidence.certified(rng, 20, evidence.THRESHOLD + 0.20, cell).all()


def test_a_fall_is_found_not_sooner_than_any_test_could() -> None:
    rng = np.random.default_rng(7)
    assert evidence.least((0.60, 0.20), 0.36) == math.ceil(log_limit(0.01 * 0.9 / 14) / math.log(0.8 / 0.64))
    found = evidence.until_found(rng, 20, (0.60, 0.20), 0.36, 50)
    assert evidence.least((0.60, 0.20), 0.36) <= found < 150

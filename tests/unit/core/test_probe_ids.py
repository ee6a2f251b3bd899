"""Names of probes' requests."""

import pytest
from indexcache_core.probe_ids import Side, is_probe, probe_name, probe_request_id, side_of, sided


def test_a_probe_is_known_by_its_token_wherever_its_name_stands() -> None:
    name = probe_request_id("secret", "n1")
    assert is_probe(name, "secret")
    assert is_probe(f"cmpl-{name}-0", "secret")
    assert not is_probe(name, "other")
    assert not is_probe(name.replace("n1", "n2"), "secret")
    assert not is_probe("chatcmpl-1", "secret")
    assert not is_probe("icprobe-n1", "secret")
    assert probe_request_id("secret", "n2") != name


@pytest.mark.parametrize("side", Side)
def test_a_name_says_its_side_and_is_signed_with_it(side: Side) -> None:
    name = probe_request_id("secret", "n1", side)
    assert probe_name(f"cmpl-{name}-0-ab", "secret") == sided("n1", side)
    assert side_of(sided("n1", side)) is side
    (other,) = set(Side) - {side}
    assert not is_probe(name.replace(side, other), "secret")
    assert not is_probe(name.replace(f"{side}.", ""), "secret")


def test_a_probe_of_no_pair_has_no_side() -> None:
    assert probe_name(probe_request_id("secret", "n1"), "secret") == "n1"
    assert side_of("n1") is side_of("fullness") is None

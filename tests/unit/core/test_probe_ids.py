"""Names of probes' requests."""

from indexcache_core.probe_ids import is_probe, probe_request_id


def test_a_probe_is_known_by_its_token_wherever_its_name_stands() -> None:
    name = probe_request_id("secret", "n1")
    assert is_probe(name, "secret")
    assert is_probe(f"cmpl-{name}-0", "secret")
    assert not is_probe(name, "other")
    assert not is_probe(name.replace("n1", "n2"), "secret")
    assert not is_probe("chatcmpl-1", "secret")
    assert not is_probe("icprobe-n1", "secret")
    assert probe_request_id("secret", "n2") != name

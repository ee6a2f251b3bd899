"""Settings from an environment, and what is wrong with one by the variable's name."""

from pathlib import Path

import pytest
from indexcache_operator.settings import Settings, SettingsError

GIVEN = {"INDEXCACHE_RUNTIME_IMAGE": "r:1", "INDEXCACHE_CONTROL_KEYS": "/k"}


def test_reads_all() -> None:
    found = Settings.read(
        {
            **GIVEN,
            "INDEXCACHE_RUNTIME_PULL_POLICY": "Never",
            "INDEXCACHE_CONTROL_KEYS_SECRET": "system/keys",
            "INDEXCACHE_NAMESPACES": "a, b",
            "INDEXCACHE_WEBHOOK_PORT": "80",
            "INDEXCACHE_TLS_CERT_FILE": "/c",
            "INDEXCACHE_TLS_KEY_FILE": "/k",
            "HF_ENDPOINT": "https://hub.example",
        }
    )
    assert (found.runtime.image, found.runtime.pull_policy) == ("r:1", "Never")
    assert (found.namespaces, found.port, found.hub) == (("a", "b"), 80, "https://hub.example")
    assert (found.control_keys, found.control_keys_secret) == (Path("/k"), ("system", "keys"))
    assert found.tls == (Path("/c"), Path("/k"))


def test_defaults_watch_everything_and_ask_no_hub() -> None:
    found = Settings.read({**GIVEN, "INDEXCACHE_NAMESPACES": ""})
    assert (found.namespaces, found.port, found.hub, found.tls, found.token()) == ((), 9443, None, None, "")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "INDEXCACHE_RUNTIME_IMAGE"),
        ({"INDEXCACHE_RUNTIME_IMAGE": "r:1"}, "INDEXCACHE_CONTROL_KEYS: not set"),
        *(
            (
                {**GIVEN, "INDEXCACHE_CONTROL_KEYS_SECRET": wrong},
                "INDEXCACHE_CONTROL_KEYS_SECRET.*NAMESPACE/NAME",
            )
            for wrong in ("keys", "/keys", "a/", "a/../b")
        ),
        ({**GIVEN, "INDEXCACHE_WEBHOOK_PORT": "x"}, "INDEXCACHE_WEBHOOK_PORT"),
        ({**GIVEN, "INDEXCACHE_WEBHOOK_PORT": "70000"}, "INDEXCACHE_WEBHOOK_PORT"),
        ({**GIVEN, "INDEXCACHE_TLS_CERT_FILE": "/c"}, "INDEXCACHE_TLS_CERT_FILE"),
    ],
)
def test_says_which_variable(environ: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.read(environ)


def test_the_token_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    found = Settings.read({**GIVEN, "INDEXCACHE_WEBHOOK_TOKEN_FILE": str(path)})
    assert found.token() == "one"
    path.write_text("two")
    assert found.token() == "two"


def test_by_a_lease_one_of_several_leads_and_without_one_this_one_does() -> None:
    alone = Settings.read(GIVEN)
    assert alone.lease is None
    assert alone.identity  # the host's name
    found = Settings.read({**GIVEN, "INDEXCACHE_LEASE": "system/operator", "INDEXCACHE_IDENTITY": "a"})
    assert (found.lease, found.identity) == (("system", "operator"), "a")
    with pytest.raises(SettingsError, match=r"INDEXCACHE_LEASE: .*expected NAMESPACE/NAME"):
        Settings.read({**GIVEN, "INDEXCACHE_LEASE": "../operator"})

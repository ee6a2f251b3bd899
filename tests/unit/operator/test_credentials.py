"""Control tokens are derived: the same for the same engines, and for no others."""

import base64
import hashlib
import hmac
import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from indexcache_operator.api import dns
from indexcache_operator.credentials import Binding, Control, Credentials, UnknownKey

KEYS = {"1": b"a" * 32, "2": b"b" * 32}
UID = "0c0ffee0-0000-0000-0000-000000000000"
NAMES = st.from_regex(dns.LABEL.pattern, fullmatch=True)
BINDINGS = st.builds(
    Binding, uid=st.from_regex("[a-z0-9-]{1,63}", fullmatch=True), key_id=st.sampled_from("12")
)
WHOSE = st.tuples(NAMES, NAMES, BINDINGS)


def credentials(keys: dict[str, bytes] = KEYS) -> Credentials:
    return Credentials(keys=lambda: keys)


def of(whose: tuple[str, str, Binding]) -> Control:
    return credentials().of(*whose)


def test_a_token_is_what_the_decision_record_says() -> None:
    found = credentials().of("serving", "glm5", Binding(uid=UID, key_id="1"))
    message = b"indexcache-control/v1\0serving\0glm5\0" + UID.encode()
    derived = base64.urlsafe_b64encode(hmac.new(KEYS["1"], message, hashlib.sha256).digest())
    assert found.token == derived.decode().rstrip("=")
    assert re.fullmatch(r"glm5-control-[0-9a-f]{10}", found.secret)


@given(WHOSE, WHOSE)
@example(("a", "b", Binding(uid="c", key_id="1")), ("a", "b-c", Binding(uid="c", key_id="1")))
@example(("a-b", "c", Binding(uid="d", key_id="1")), ("a", "b-c", Binding(uid="d", key_id="1")))
def test_no_two_rollouts_bindings_or_keys_share_a_token(
    one: tuple[str, str, Binding], other: tuple[str, str, Binding]
) -> None:
    assume(one != other)
    assert of(one).token != of(other).token
    assert of(one) == of(one)


@given(WHOSE)
def test_a_secret_has_a_name_and_a_token_goes_into_a_header(whose: tuple[str, str, Binding]) -> None:
    found = of(whose)
    assert dns.check(found.secret, dns.SUBDOMAIN)
    assert re.fullmatch(r"[-_a-zA-Z0-9]{43}", found.token)


@given(WHOSE)
def test_neither_a_name_nor_what_is_shown_tells_the_token(whose: tuple[str, str, Binding]) -> None:
    found = of(whose)
    assert found.token not in repr(found)
    derived = base64.urlsafe_b64decode(found.token + "=").hex()
    assert found.secret.rpartition("-")[2] not in derived


@given(BINDINGS)
def test_a_binding_survives_its_annotation(binding: Binding) -> None:
    assert Binding.parse(str(binding)) == binding


@pytest.mark.parametrize(
    "text", [None, 7, "", "/", "u", "u/", "/1", "u/1\n", "u/../1", "u/.1", "u\0/1", "é/1", f"{'u' * 64}/1"]
)
def test_what_is_no_binding_is_none(text: object) -> None:
    assert Binding.parse(text) is None


def test_the_newest_key_binds_anew_and_each_stays_good() -> None:
    assert credentials().new("u") == Binding(uid="u", key_id="2")
    older = credentials().of("n", "r", Binding(uid="u", key_id="1"))
    assert credentials({"1": KEYS["1"]}).of("n", "r", Binding(uid="u", key_id="1")) == older


def test_a_key_that_isnt_there_is_named_with_what_to_do() -> None:
    with pytest.raises(UnknownKey, match=r"control key 3; expected .* which are 1, 2; put that key back"):
        credentials().of("n", "r", Binding(uid="u", key_id="3"))
    with pytest.raises(UnknownKey, match=r"found no control key; expected .*; give it one"):
        credentials({}).new("u")

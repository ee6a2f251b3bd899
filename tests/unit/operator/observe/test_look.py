"""Tests what is read of the spec for a look."""

import pytest
from indexcache_operator.api.spec import Engine, IndexCache, Spec
from indexcache_operator.observe.look import completions_key


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--api-key=a"], "a"),
        (["--api_key=a"], "a"),
        (["--api-key", "a"], "a"),
        (["--api_key", "a", "b"], "a"),
        (["--api-key=a", "--api-key=b"], "b"),
        (["--api-key-file=a"], None),
        (["--api-key"], None),
        ([], None),
    ],
)
def test_the_key_that_users_are_asked_for(args: list[str], expected: str | None) -> None:
    spec = Spec(engine=Engine(image="i", model="m", args=args), index_cache=IndexCache(pattern="FS"))
    assert completions_key(spec) == expected

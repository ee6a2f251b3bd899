"""Patterns: what is one, what protected sites make of it, and what fits a model."""

import pytest
from indexcache_core import pattern
from indexcache_core.pattern import MAX_SITES, PatternError


@pytest.mark.parametrize("text", ["F", "FS", "FFSSF", "F" * MAX_SITES])
def test_what_is_a_pattern(text: str) -> None:
    assert pattern.check(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found no letter; expected one, F"),
        ("F" * (MAX_SITES + 1), "found 513 letters; expected at most 512"),
        ("FXsS", "found 'X', 's'; expected only the letters F"),
        ("SF", "found S at the start; expected an F"),
    ],
)
def test_what_is_none_is_named(text: str, said: str) -> None:
    with pytest.raises(PatternError) as e:
        pattern.check(text)
    assert said in str(e.value)


def test_what_a_pattern_says() -> None:
    assert pattern.protect("FSSS", [2, 0, 9]) == "FSFS"
    assert pattern.leaders("FSSFS") == (0, 0, 0, 3, 3)
    assert pattern.shared_sites("FSSFS") == (1, 2, 4)
    assert pattern.retention("FSSS") == 0.25


@pytest.mark.parametrize(
    ("text", "protected", "domains", "said"),
    [
        ("FSFS", [3], "aaaa", []),
        ("FS", [], "aab", ["pattern: 2 letters, the model has 3 indexers"]),
        ("FFFF", [], "aaa", ["pattern: 4 letters, the model has 3 indexers"]),
        ("FSS", [5, -1, 2, 3], "aaa", ["protected: [-1, 3, 5] outside the model's indexers 0 to 2"]),
        ("FS", [], "ab", ["pattern: indexer 1 is Shared but the first of domain 'b'"]),
        ("FS", [1], "ab", []),
        ("FFS", [], "aba", ["pattern: indexer 2 would share across domains ('a')"]),
        (
            "FFSS",
            [],
            "aabb",
            ["indexer 2 is Shared but the first of domain 'b'", "indexer 3 would share across domains ('b')"],
        ),
        ("FFS", [], "abb", []),
    ],
)
def test_what_fits_a_model(text: str, protected: list[int], domains: str, said: list[str]) -> None:
    reasons = pattern.misfits(text, protected, list(domains))
    assert len(reasons) == len(said)
    assert all(word in reason for word, reason in zip(said, reasons, strict=True))

"""Tests what is advised on the buffer of scores."""

import pytest
from indexcache_runtime.vllm.worker.cuda.scores_buffer import advice


@pytest.mark.parametrize(
    ("tokens", "megabytes", "rows", "wanted", "costs"),
    [
        (200_000, 512, "671", 4096, "3.5"),
        (131_072, 512, "1,024", 2048, "1.5"),
        (131_073, 512, "1,023", 4096, "3.5"),
        (65_537, 512, "2,047", 2048, "1.5"),
        (1_048_576, 512, "128", 16384, "15.5"),
    ],
)
def test_a_small_buffer_is_told_with_what_would_do(
    tokens: int, megabytes: int, rows: str, wanted: int, costs: str
) -> None:
    said = advice(tokens, megabytes)
    assert said is not None
    assert f"{tokens:,} tokens" in said
    assert f"scores {rows} rows" in said
    assert f"With {wanted} " in said
    assert f"{costs} GiB" in said
    assert advice(tokens, wanted) is None


@pytest.mark.parametrize(("tokens", "megabytes"), [(65_536, 512), (1_024, 512), (200_000, 4096)])
def test_of_one_that_does_nothing_is_told(tokens: int, megabytes: int) -> None:
    assert advice(tokens, megabytes) is None

"""Fresh sets from scores, and what is measured with them."""

import torch
from indexcache_runtime.vllm.worker.overlap import compare, fresh_sets

NEVER = float("-inf")


def test_ties_go_to_the_earlier_position_and_short_rows_are_padded() -> None:
    scores = torch.tensor([[0.0, 2.0, 0.0, 0.0], [3.0, 1.0, NEVER, NEVER]])
    assert fresh_sets(scores, 3).tolist() == [[1, 0, 2], [0, 1, -1]]
    assert fresh_sets(scores, 5).tolist() == [[1, 0, 2, 3, -1], [0, 1, -1, -1, -1]]


def test_overlap_counts_and_recall_weighs() -> None:
    scores = torch.tensor([[1.0, 0.0, 3.0, 2.0]])
    fresh = fresh_sets(scores, 2)  # positions 2 and 3
    overlap, recall = compare(torch.tensor([[3, 0]], dtype=torch.int32), fresh, scores)
    assert overlap.tolist() == [0.5]
    torch.testing.assert_close(recall, torch.tensor([1 / (1 + torch.e)]))

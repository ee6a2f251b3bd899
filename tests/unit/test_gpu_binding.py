"""Tests what the GPU's conformance suite takes for "read": places in a cache, turned back into positions.
Needs no GPU.
"""

import torch

from tests.gpu.cuda_binding import positions


def test_places_become_positions_of_the_request_that_reads_them() -> None:
    table = torch.tensor(
        [[5, 2, 0, 0], [7, 0, 5, 5]], dtype=torch.int32
    )  # past their ends anything: 0, or another's blocks
    requests = torch.tensor([0, 0, 1], dtype=torch.int32)
    block, apart = 4, 6
    places = torch.tensor(
        [[5 * 6 + 3, 2 * 6, 5 * 6], [2 * 6 + 1, 99, 99], [7 * 6 + 2, 2 * 6, 7 * 6 + 5]], dtype=torch.int32
    )
    counts = torch.tensor([3, 1, 3], dtype=torch.int32)
    found = positions(places, counts, requests, table, block, apart)
    # request 0: blocks 5 and 2; request 1: block 7, and two places that are not its own
    assert found.tolist() == [[0, 3, 4], [-1, -1, 5], [-2 - (7 * 6 + 5), -2 - 2 * 6, 2]]

"""Rows of a step and slots of a context in paged caches."""

import pytest
import torch
from dsa_cpu.paging import flat, rows_of, slots_of, write


def test_rows_are_the_last_of_their_requests_contexts() -> None:
    # A decode at context 10, a chunk of 3 that ends at 7, a whole prefill of 2.
    request, position = rows_of(torch.tensor([0, 1, 4, 6]), torch.tensor([10, 7, 2]))
    assert request.tolist() == [0, 1, 1, 1, 2, 2]
    assert position.tolist() == [9, 4, 5, 6, 0, 1]


def test_slots_follow_the_block_table_and_stop_at_the_context() -> None:
    slots = slots_of(torch.tensor([[7, 2], [5, 0]], dtype=torch.int32), torch.tensor([6, 3]), block_size=4)
    assert slots.tolist() == [[28, 29, 30, 31, 8, 9], [20, 21, 22, 0, 0, 0]]
    assert slots.dtype == torch.int64


def test_what_is_written_is_read_at_its_slots() -> None:
    cache = torch.zeros(8, 4, 3)
    rows = torch.arange(1, 13).view(4, 3).float()
    write(cache, torch.tensor([9, -1, 20, 31]), rows)  # the second is padding
    assert torch.equal(flat(cache)[[9, 20, 31]], rows[[0, 2, 3]])
    assert int((cache != 0).any(-1).sum()) == 3


def test_rows_beyond_the_slots_are_padding_too() -> None:
    cache = torch.zeros(2, 2, 1)
    write(cache, torch.tensor([3]), torch.tensor([[1.0], [2.0]]))
    assert flat(cache)[:, 0].tolist() == [0.0, 0.0, 0.0, 1.0]


def test_a_cache_that_would_have_to_be_copied_is_refused() -> None:
    with pytest.raises(RuntimeError, match="view"):
        write(torch.zeros(4, 8, 3).transpose(0, 1), torch.tensor([0]), torch.ones(1, 3))

"""index_keys: the torch form against plain arithmetic, and the Triton kernel, in Triton's interpreter,
against the torch form.
"""

import math
from collections.abc import Callable

import pytest
import torch
from indexcache_kernels.index_keys import Indexer, check
from indexcache_kernels.index_keys.cases import BLOCK, Case, case, cases, untouched, written
from indexcache_kernels.index_keys.naive import index_keys_naive
from indexcache_kernels.index_keys.triton import PARTS, PROGRAMS, STEP, shares

from tests.unit.kernels.interpreter import interpreted

CASES = cases()
SCRIPT = """
import sys
import torch
from indexcache_kernels.index_keys.cases import cases
from indexcache_kernels.index_keys.triton import calls_of, index_keys_triton, project_kernel, table_of

print(type(project_kernel).__name__)
for c in (all := cases()).values():
    calls = torch.tensor(calls_of(range(len(c.indexers)), c.hidden, c.slots))
    index_keys_triton(table_of(c.indexers), calls, c.indexers[0], c.positions, c.rope)
torch.save({name: [x.cache for x in c.indexers] for name, c in all.items()}, sys.argv[1])
"""


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[torch.Tensor]]:
    """Return what the kernel makes of the cases' caches."""
    found: dict[str, list[torch.Tensor]] = interpreted(
        SCRIPT, tmp_path_factory.mktemp("interpreted") / "caches.pt"
    )
    return found


def filled(c: Case) -> Case:
    """Return the case after the torch form wrote its keys."""
    own = c.to("cpu")
    index_keys_naive(*own)
    return own


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_writes_what_the_reference_does(name: str, caches: dict[str, list[torch.Tensor]]) -> None:
    expected = filled(CASES[name])
    own = [
        indexer._replace(cache=cache)
        for indexer, cache in zip(CASES[name].indexers, caches[name], strict=True)
    ]
    found = CASES[name]._replace(indexers=own)
    for got, wanted in zip(written(found), written(expected), strict=True):
        off = (got - wanted).abs()
        assert (off <= 0.13 * wanted.abs() + 0.02).float().mean() > 0.95 or not got.numel()  # one step of fp8
        assert (
            off <= 0.55 * wanted.abs() + 0.02
        ).all()  # the interpreter loses the carry of a mantissa that rounds up to a power of two
    assert untouched(found, CASES[name])


@pytest.mark.parametrize("hidden", [200, 2048, 2072, 5120, 6144, 7168])
def test_inputs_are_shared_out_evenly_whatever_the_number_of_layers(hidden: int) -> None:
    steps = -(-hidden // STEP)
    for programs in (*range(1, 80), 500):
        parts, each = shares(hidden, programs)
        assert parts * each == steps
        assert 1 <= parts <= PARTS
        assert parts * programs <= 2 * PROGRAMS or parts == 1
    assert shares(7168, 1) == (16, 7)
    assert shares(2048, 21) == (4, 8)


def test_the_reference_by_hand() -> None:
    c = case(2, layers=1, hidden=16, dim=16, half=4)
    c.slots[0][:] = torch.tensor([70, 3])
    (indexer,), (x,) = c.indexers, c.hidden
    for token, got in enumerate(written(filled(c))[0].tolist()):
        key = [
            sum(a * b for a, b in zip(x[token].tolist(), row, strict=True))
            for row in indexer.weight[:16].tolist()
        ]
        mean = sum(key) / 16
        spread = math.sqrt(sum((v - mean) ** 2 for v in key) / 16 + 1e-6)
        key = [
            (v - mean) / spread * w + b
            for v, w, b in zip(key, indexer.norm_weight.tolist(), indexer.norm_bias.tolist(), strict=True)
        ]
        angles = c.rope.table[c.positions[token]].tolist()
        for i in range(4):
            (cos, sin), (a, b) = (angles[i], angles[4 + i]), (key[i], key[4 + i])
            key[i], key[4 + i] = a * cos - b * sin, b * cos + a * sin
        assert got == pytest.approx(key, rel=0.07, abs=0.02)


def test_what_has_no_slot_is_not_written() -> None:
    before = case(6)
    after = filled(before)
    assert untouched(after, before)
    assert not torch.equal(after.indexers[0].cache, before.indexers[0].cache)
    nowhere = before._replace(slots=[torch.full_like(s, -1) for s in before.slots])
    assert torch.equal(filled(nowhere).indexers[0].cache, before.indexers[0].cache)


def test_the_scale_is_a_power_of_two_that_leaves_nothing_out() -> None:
    c = filled(case(9, seed=3))
    flat = c.indexers[0].cache.flatten(1)
    scales = flat[:, BLOCK * 128 :].contiguous().view(torch.float32).reshape(-1)[c.slots[0][c.slots[0] >= 0]]
    assert all(math.log2(s).is_integer() for s in scales.tolist())
    assert written(c)[0].abs().amax() / scales.max() <= 448


def elsewhere(x: torch.Tensor) -> torch.Tensor:
    """Return the same values, where no vector of them can be read at once."""
    return x.new_empty(x.numel() + 1)[1:].view_as(x).copy_(x)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x: x._replace(weight=x.weight.half()), "weight of indexer 0: .*float16; expected"),
        (lambda x: x._replace(norm_bias=x.norm_bias[:3]), "norm_bias of indexer 0: "),
        (lambda x: x._replace(cache=x.cache[:, :, 1:]), "cache of indexer 0: .* expected .blocks"),
        (lambda x: x._replace(weight=x.weight[:, 1:]), "weight: 255 inputs; expected a multiple"),
        (lambda x: x._replace(weight=elsewhere(x.weight)), "expected a multiple of 16 bytes"),
        (lambda x: x._replace(norm_weight=x.norm_weight[:100]), "norm_weight: 100 dimensions"),
    ],
)
def test_bad_indexers_are_named(spoil: Callable[[Indexer], Indexer], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check([spoil(x) for x in case(4).indexers])


def test_indexers_that_share_a_weight_are_refused() -> None:
    with pytest.raises(ValueError, match="weight: indexers share one"):
        check(case(4).indexers[:1] * 3)


@pytest.mark.parametrize("name", CASES)
def test_good_indexers_pass(name: str) -> None:
    check(CASES[name].indexers)

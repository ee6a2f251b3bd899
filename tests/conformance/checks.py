"""Checks what every adapter must keep, each as a function that raises AssertionError where an engine doesn't.

They take an engine that has been reset, and leave it in any mode. The first Shared site of a pattern is the
best witness: all that it is computed from is as at the baseline, whatever the sites after it do, so there
sets can be compared between runs.
"""

from collections.abc import Sequence
from itertools import takewhile

import torch
from indexcache_core.contract import Mode, Work
from indexcache_core.pattern import leaders, shared_sites
from indexcache_core.probe_ids import Side, probe_request_id, sided

from tests.conformance.engine import ALL, TOKEN, Answer, Engine, Reads, Tolerance, prompts, same_sets

STRAYS_IN_OTHER_STEPS = 0.1
"""The share of a set's members that may differ when the same is computed in other steps, on any platform:
sums are taken in another order, and of nearly equal scores others win. Of keys that are not the request's own
most are others.
"""


def alternating(engine: Engine) -> str:
    """Return FSFS..., as long as the engine's model has indexers."""
    return ("FS" * len(engine.control.sites))[: len(engine.control.sites)]


def patterns(engine: Engine) -> list[str]:
    """Return an alternating pattern; one with a run of Shared sites at the end; and one with all but the
    first Shared."""
    n = len(engine.control.sites)
    return [alternating(engine), "F" * (n // 2) + "S" * (n - n // 2), "F" + "S" * (n - 1)]


def differences(one: Answer, other: Answer) -> list[float]:
    """Return differences in log-probability, up to the first other token: two nearly equal ones compete
    there, or the difference shows.
    """
    assert len(one.tokens) == len(other.tokens)
    same = takewhile(lambda i: one.tokens[i] == other.tokens[i], range(len(one.tokens)))
    compared = min(len(list(same)) + 1, len(one.tokens))
    return [abs(one.logprobs[i] - other.logprobs[i]) for i in range(compared)]


def agree(a: Sequence[Answer], b: Sequence[Answer], tolerance: Tolerance) -> None:
    """Check that both are the same tokens with the same log-probabilities; with a tolerance, up to a token
    that two nearly equal ones compete for.
    """
    assert len(a) == len(b)
    if not any(tolerance):
        assert list(a) == list(b)
    for one, other in zip(a, b, strict=True):
        for i, difference in enumerate(differences(one, other)):
            allowed = tolerance.later if i else tolerance.first
            assert difference <= allowed, f"other log-probability of token {i}: {one}, {other}"


def same_reads(a: Reads, b: Reads, strays: float, sites: Sequence[int]) -> None:
    """Check that these sites read the same in both runs."""
    assert len(a) == len(b) > 0
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        for site in one.keys() & set(sites):
            assert same_sets(one[site], other[site], strays), f"other sets at site {site}"


def follows(step: dict[int, torch.Tensor], pattern: str) -> None:
    """Check that in this step each site reads its leader's set."""
    for site, leader in enumerate(leaders(pattern)):
        assert torch.equal(step[site], step[leader])


def off_equals_unpatched(engine: Engine) -> None:
    """Check that `off` answers as an untouched engine, also after reuse."""
    for _ in range(2):
        agree(engine.ask(engine.prompts, 16), engine.untouched, engine.binding.repeats)
        engine.put(Mode.ON, patterns(engine)[-1])
        engine.ask(engine.prompts[2:4], 4)
        engine.reset()


def shadow_changes_nothing(engine: Engine) -> None:
    """Check that shadow answers as `off`, however much it measures."""
    engine.put(Mode.SHADOW, alternating(engine), sample_rows=ALL)
    agree(engine.ask(engine.prompts, 16), engine.untouched, engine.binding.repeats)
    measured = {s.site for s in engine.state.observed if s.overlap.count}
    assert measured == {None, *shared_sites(alternating(engine))}


def probes_in_shadow_follow(engine: Engine) -> None:
    """Check that a probe alone reads its leaders' sets in shadow, prefill and decode, and that steps before
    and after it are what they were.
    """
    pattern = alternating(engine)
    engine.put(Mode.SHADOW, pattern, sample_rows=ALL)
    agree(engine.ask(engine.prompts, 16), engine.untouched, engine.binding.repeats)
    engine.forget()
    with engine.reads() as steps:
        name = probe_request_id(TOKEN, "conformance", Side.REUSE)
        engine.finish([engine.start(engine.prompts[0], 4, name)])
    with_sets = [step for step in steps if step]
    assert len(with_sets) > 5  # its chunks, and its tokens
    for step in with_sets:
        follows(step, pattern)
    (run,) = (r for r in engine.state.probe_runs or () if r.name == sided("conformance", Side.REUSE))
    assert run.rows == run.reused > 0
    engine.forget()
    agree(engine.ask(engine.prompts, 16), engine.untouched, engine.binding.repeats)


def shared_reads_its_leaders_set(engine: Engine, pattern: str) -> None:
    """Check prefills in chunks, decodes and both together, of several requests; and that the first Shared
    site would have chosen otherwise.
    """
    with engine.reads() as baseline:
        engine.ask(engine.prompts, 4)
    engine.reset()
    engine.put(Mode.ON, pattern, sample_rows=0)
    with engine.reads() as steps:
        engine.ask(engine.prompts, 4)
    with_sets = [step for step in steps if step]
    assert len(with_sets) > 5  # the longest prompt's chunks
    for step in with_sets:
        assert sorted(step) == list(range(len(pattern)))
        follows(step, pattern)
    first = pattern.index("S")
    chunks = slice(0, 4)  # of the longest prompt, alone: tokens are the same in both runs
    same_reads(steps[chunks], baseline[chunks], engine.binding.strays, range(first))
    assert not same_sets(steps[3][first], baseline[3][first], 0.01)


def short_extensions_follow(engine: Engine) -> None:
    """Check a few tokens after a cached context, which a backend may take for decoding: each Shared site
    reads its leader's set, and what comes out is what a prefill of the whole gives.
    """
    pattern, size = alternating(engine), engine.block_size
    context = engine.prompts[1][: len(engine.prompts[1]) // size * size]
    extended = [[*context, *more] for more in prompts(5, 3, 7, 40)]
    engine.put(Mode.ON, pattern, sample_rows=0)
    whole = []
    for prompt in extended:
        whole += engine.ask([prompt], 4)
        engine.forget()
    engine.ask([[*context, 9]], 1)
    with engine.reads() as steps:
        answers = engine.ask_each(extended, 4)
    assert [a.cached for a in answers] == [len(context)] * len(extended)
    with_sets = [step for step in steps if step]
    assert {len(step[0]) for step in with_sets} >= {3, 7, 40}
    for step in with_sets:
        follows(step, pattern)
    agree(answers, whole, engine.binding.rounding)


def measuring_changes_nothing(engine: Engine) -> None:
    """Check FULL_TO_SCRATCH against SHARED: the same answers, and in every step a Shared site reads its
    leader's set. Sets are compared as far as an engine repeats itself: in all steps, or in the longest
    prompt's chunks, which no generated token precedes.
    """
    pattern = alternating(engine)
    engine.put(Mode.ON, pattern, sample_rows=0)
    with engine.reads() as shared:
        plain = engine.ask(engine.prompts, 16)
    engine.reset()
    engine.put(Mode.ON, pattern, sample_rows=ALL)
    with engine.reads() as measured:
        agree(engine.ask(engine.prompts, 16), plain, engine.binding.repeats)
    for step in filter(None, measured):
        follows(step, pattern)
    steps = slice(0, 4) if any(engine.binding.repeats) else slice(None)
    same_reads(measured[steps], shared[steps], engine.binding.strays, range(len(pattern)))
    assert {s.site for s in engine.state.observed if s.overlap.count} == {None, *shared_sites(pattern)}


def _flipped(engine: Engine, sample_rows: int) -> tuple[Answer, Reads]:
    """Ask the longest prompt: its first step at the baseline, two under reuse, the rest at the baseline."""
    engine.reset()
    with engine.reads() as steps:
        name = engine.start(engine.prompts[0], 16)
        engine.step()
        engine.put(Mode.ON, alternating(engine), sample_rows=sample_rows)
        engine.step()
        engine.step()
        engine.kill()
        (answer,) = engine.finish([name])
    return answer, steps


def keys_stay_warm(engine: Engine) -> None:
    """Check that after a flip back the first Shared site chooses as if it had never been Shared, and that
    what SHARED leaves behind is what FULL_TO_SCRATCH leaves behind.
    """
    engine.reset()
    with engine.reads() as baseline:
        engine.ask([engine.prompts[0]], 16)
    witness = alternating(engine).index("S")
    chunks = slice(3, 5)  # the rest of the prompt: the tokens after it may differ
    shared, reads = _flipped(engine, 0)
    assert not same_sets(reads[2][witness], baseline[2][witness], 0.01)  # it did reuse
    same_reads(reads[chunks], baseline[chunks], engine.binding.strays, [witness])
    scratch, reads = _flipped(engine, ALL)
    same_reads(reads[chunks], baseline[chunks], engine.binding.strays, [witness])
    agree([shared], [scratch], engine.binding.repeats)


def keys_stay_warm_in_decode(engine: Engine) -> None:
    """Check the same for a flip while tokens are generated."""
    answers = []
    for sample_rows in (0, ALL):
        engine.reset()
        name = engine.start(engine.prompts[2], 20)
        while engine.scheduled(name).num_output_tokens < 4:
            engine.step()
        engine.put(Mode.ON, alternating(engine), sample_rows=sample_rows)
        while engine.scheduled(name).num_output_tokens < 12:
            engine.step()
        engine.kill()
        answers.append(engine.finish([name])[0])
    agree(answers[:1], answers[1:], engine.binding.repeats)


def measurements_are_of_what_was_read(engine: Engine, mode: Mode) -> None:
    """Check the overlap of each measured row against the sets that attention read: in shadow at every Shared
    site; under reuse at the first one, whose fresh choice is what the baseline read there.
    """
    pattern, k, prompt = alternating(engine), engine.k, engine.prompts[0]
    with engine.reads() as baseline:
        engine.ask([prompt], 4)
    engine.reset()
    engine.put(mode, pattern, sample_rows=64)
    known = shared_sites(pattern) if mode is Mode.SHADOW else shared_sites(pattern)[:1]
    compared = dict.fromkeys(known, 0)
    for _ in range(20):  # a step may measure some sites only, drawn at random
        engine.forget()
        with engine.measurements() as counted, engine.reads() as reads:
            engine.ask([prompt], 4)
        reused, fresh = _by_position(reads), _by_position(reads if mode is Mode.SHADOW else baseline)
        for plan, measured in counted:
            assert measured.overlap.keys() == measured.recall.keys() <= set(shared_sites(pattern))
            for j, row in enumerate(plan.rows):
                assert row.position >= k
                assert (row.work is Work.PREFILL) is (row.position < len(prompt))
                if mode is Mode.ON and row.position >= len(prompt):
                    continue  # the tokens before it may differ from the baseline's
                for site in measured.overlap.keys() & set(known):
                    common = reused[leaders(pattern)[site]][row.position] & fresh[site][row.position]
                    assert abs(measured.overlap[site][j] - len(common) / k) <= 1e-5 + engine.binding.strays
                    assert 0 <= measured.recall[site][j] <= 1 + 1e-5
                    compared[site] += 1
        if min(compared.values()) > 50:
            break
    assert min(compared.values()) > 50


def _by_position(steps: Reads) -> dict[int, list[set[int]]]:
    """Return for each site the sets that one request's tokens read, by position."""
    out: dict[int, list[set[int]]] = {}
    for step in steps:
        for site, rows in step.items():
            out.setdefault(site, []).extend(set(row) - {-1} for row in rows.tolist())
    return out


def contexts_up_to_k(engine: Engine) -> None:
    """Check that where everything is chosen reuse changes nothing, but for the order of a sum, and that
    nothing is measured, up to a context of k.
    """
    crossing, short = engine.prompts[-2:]
    plain = engine.ask([short], 16)
    engine.reset()
    engine.put(Mode.ON, patterns(engine)[-1], sample_rows=ALL)
    agree(engine.ask([short], 16), plain, engine.binding.rounding)
    assert engine.state.observed == ()
    engine.forget()
    with engine.measurements() as counted:
        engine.ask([crossing], 12)
    assert [row.position for plan, _ in counted for row in plan.rows] == list(
        range(engine.k, len(crossing) + 11)
    )


def several_at_once_as_alone(engine: Engine) -> None:
    """Check that requests in chunks of other sizes, beside each other, are answered as alone."""
    engine.put(Mode.ON, alternating(engine))
    together = engine.ask(engine.prompts, 12)
    alone = []
    for prompt in engine.prompts:
        engine.forget()
        alone += engine.ask([prompt], 12)
    agree(together, alone, engine.binding.rounding)


def preempted_as_not(engine: Engine) -> None:
    """Check requests that lose their blocks for want of memory, under reuse, and are computed again."""
    tokens = 2 * engine.core.scheduler.hash_block_size + 8
    engine.put(Mode.ON, alternating(engine))
    asked = engine.prompts[1:4]
    expected = engine.ask(asked, tokens)
    engine.forget()
    names = [engine.start(prompt, tokens) for prompt in asked]
    while any(engine.scheduled(name).num_output_tokens < 1 for name in names):
        engine.step()
    requests = [engine.scheduled(name) for name in names]
    with engine.scarce(blocks=1):
        agree(engine.finish(names), expected, engine.binding.rounding)
    assert any(request.num_preemptions > 0 for request in requests)


def reuse_is_cached_for_reuse(engine: Engine) -> None:
    """Check that what was computed under reuse is read again under the same reuse, and counted as such: the
    tokens that are computed anew choose what they chose the first time, as far as sums in another order let
    them, and so does what comes out.
    """
    engine.put(Mode.ON, alternating(engine))
    for prompt in engine.prompts:
        with engine.reads() as steps:
            (first,) = engine.ask([prompt], 16)
        before = engine.state.cache.reuse_hits
        with engine.reads() as steps_again:
            (again,) = engine.ask([prompt], 16)
        assert engine.state.cache.reuse_hits - before == again.cached
        later = engine.binding.rounding.later
        agree([again], [first], Tolerance(later, later))
        if len(prompt) <= engine.k:
            continue  # such a context can be attended densely when it is new, so that no sets are read
        assert again.cached > len(prompt) // 2
        new, old = _by_position(steps_again), _by_position(steps)
        for site in old:
            pairs = zip(new[site], old[site][again.cached : len(prompt)], strict=False)
            missing = [len(a - b) for a, b in pairs]
            assert len(missing) == len(prompt) - again.cached
            assert sum(missing) <= STRAYS_IN_OTHER_STEPS * engine.k * len(missing), (
                f"other sets at site {site}"
            )


def reuse_is_never_served_to_the_baseline(engine: Engine) -> None:
    """Check that after traffic under reuse filled the prefix cache, and a kill, the same prompts get the
    answers of an engine that never reused.
    """
    engine.put(Mode.ON, alternating(engine))
    engine.ask(engine.prompts, 16)
    engine.kill()
    agree(engine.ask(engine.prompts, 16), engine.untouched, engine.binding.rounding)

"""Checks what every adapter must keep where reuse doesn't reach each length; as checks.py, beside it."""

from indexcache_core.contract import Mode

from tests.conformance.checks import agree, alternating
from tests.conformance.engine import ALL, Engine


def beyond_the_reach_as_at_the_baseline(engine: Engine) -> None:
    """Check that the longer prompts are answered as by an untouched engine while steps under reuse and steps
    for them take turns; that they are measured as in shadow, and the shorter ones under reuse; and that the
    baseline is served what was computed for them.
    """
    reach = 2 * engine.binding.tokens_a_step
    out = [i for i, prompt in enumerate(engine.prompts) if len(prompt) > reach]
    engine.ask(engine.prompts, 16)
    cached = engine.ask_each([engine.prompts[i] for i in out], 16)
    engine.forget()
    engine.put(Mode.ON, alternating(engine), sample_rows=ALL, reach_tokens=reach)
    names = [engine.start(prompt, 16) for prompt in engine.prompts]
    with engine.measurements() as steps:
        answers = engine.finish(names)
    agree([answers[i] for i in out], [engine.untouched[i] for i in out], engine.binding.rounding)
    measured: dict[Mode, set[bool]] = {}
    for plan, _ in steps:
        asked = {next(i for i, name in enumerate(names) if row.request.startswith(name)) for row in plan.rows}
        measured.setdefault(plan.mode, set()).update(i in out for i in asked)
    assert measured == {Mode.SHADOW: {True}, Mode.ON: {False}}
    engine.step()  # vLLM tells of finished requests with the next step
    requests = engine.state.requests
    assert (requests.running_baseline, requests.running_reuse) == (0, 0)
    engine.kill()
    again = engine.ask_each([engine.prompts[i] for i in out], 16)
    assert all(a.cached >= engine.cacheable(engine.prompts[i]) for a, i in zip(again, out, strict=True))
    agree(again, cached, engine.binding.rounding)  # in other steps than uncached ones, so rounded otherwise

"""The questions: right, the same everywhere, and the same whether read in one pass or asked one by one."""

import hashlib
import subprocess
import sys

import pytest
from indexcache_testbed.model import questions as q


def test_a_table_is_the_same_on_every_machine_and_python() -> None:
    ids = q.table(16, seed=q.MEASURED_SEED, index=3).ids()
    assert (
        hashlib.sha256(repr(ids).encode()).hexdigest()
        == "182f56821fe944c0e84a39e742345d616ae76539e6859d74a90346f75a0716bd"
    )


def test_other_seeds_sizes_and_indexes_give_other_tables() -> None:
    tables = [
        q.table(pairs, seed=seed, index=index) for pairs in (16, 17) for seed in (1, 2) for index in (0, 1)
    ]
    assert len({t.pairs for t in tables}) == len(tables)


def test_keys_are_distinct_symbols_and_values_a_permutation_of_them() -> None:
    t = q.table(432, seed=1, index=0)
    keys, values = zip(*t.pairs, strict=True)
    assert len(set(keys)) == 432
    assert sorted(keys) == sorted(values)
    assert max(keys) < q.SYMBOLS


@pytest.mark.parametrize("history", [0, 5, 47])
def test_answer_is_the_value_that_the_prompt_gives_for_the_key_asked(history: int) -> None:
    question = q.table(20, seed=4, index=1).question(history)
    words = question.prompt.split()
    assert words[0] == "<bos>"
    assert words[-2] == "<ask>"
    table = dict(zip(words[1:41:2], words[2:41:2], strict=True))
    assert table[words[-1]] == question.answer
    asked = words[41:-2]
    assert len(asked) == 3 * history
    assert all(table[key] == value for key, value in zip(asked[1::3], asked[2::3], strict=True))


def test_a_question_is_a_prefix_of_its_tables_sequence_and_the_answer_comes_next() -> None:
    t = q.table(16, seed=2, index=0)
    sequence = t.ids()
    for history in range(q.QUESTIONS):
        question = t.question(history)
        assert list(question.ids) == sequence[: question.tokens]
        assert sequence[question.tokens] == question.answer_id
    assert len(sequence) == question.tokens + 1


@pytest.mark.parametrize("pairs", [1, 16, 17, 62, 63, 64, 432])
def test_past_2k_is_the_first_history_whose_context_is_longer_than_2k(pairs: int) -> None:
    history = q.past_2k(pairs)
    assert q.context(pairs, history) > 2 * q.TOPK
    assert history == 0 or q.context(pairs, history - 1) <= 2 * q.TOPK


@pytest.mark.parametrize("pairs", q.SIZES)
def test_measured_questions_are_enough_and_all_past_2k(pairs: int) -> None:
    questions = list(q.measured_questions(pairs))
    assert len(questions) >= 3072
    assert min(x.tokens for x in questions) > 128
    assert len({x.ids for x in questions}) == len(questions)


def test_load_asks_each_question_after_a_table_of_its_own() -> None:
    asked = [q.ask(16, seed=9, index=i) for i in range(50)]
    assert len({x.ids[:33] for x in asked}) == 50
    assert {x.tokens for x in asked} == {131}


def test_only_a_completion_that_begins_with_the_answer_is_right() -> None:
    question = q.ask(16, seed=9, index=0)
    assert question.right(f" {question.answer}")
    assert not question.right(f"{question.answer}0")
    assert not question.right("")


def test_a_probe_is_the_prompt_with_its_answer() -> None:
    question = q.ask(64, seed=9, index=0)
    probe = question.probe()
    assert probe.text.split() == [q.WORDS[i] for i in (*question.ids, question.answer_id)]
    assert probe.tokens == len(probe.prompt.split())


def test_impossible_tables_and_questions_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="pairs: 513"):
        q.table(513, seed=1, index=0)
    with pytest.raises(ValueError, match="history: 48"):
        q.table(16, seed=1, index=0).question(48)
    with pytest.raises(ValueError, match="pairs: 0"):
        q.table(0, seed=1, index=0)


def test_importing_questions_and_patterns_loads_no_torch() -> None:
    code = (
        "import sys; from indexcache_testbed.model import questions, patterns; sys.exit('torch' in "
        "sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Problems of a JSON Lines file: how they are read, left out and split."""

import json
from types import SimpleNamespace

import pytest

from data.problems import WORLDS, first_problems
from support.runs.options import UserError
from support.runs.problem_files import load_problems, read_problems


def written(path, *rows) -> str:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def load(tokenizer, n: int, context: int = 1000, **given):
    defaults = dict(
        data=None, test_data=None, max_prompt_tokens=None, max_new_tokens=64, world="jargon"
    )
    config = SimpleNamespace(**defaults | {"prompt_template": "{question}"} | given)
    return load_problems(config, tokenizer, context, n)


def test_problems_of_a_file_are_read_as_they_stand(tmp_path, tokenizer):
    rows = [
        {"question": "1 + 1?", "answer": "so it is 2\n#### 2", "source": "GSM8K's form"},
        {"question": "half of 1?", "answer": r"It is \boxed{\frac{1}{2}}."},
        {"question": "2 + 2?", "answer": 4},
        {"question": "a separator \u2028 within", "answer": "0.5"},
    ]
    path = written(tmp_path / "some.jsonl", "\ufeff" + json.dumps(rows[0]), "", *rows[1:], "")
    found, left_out = read_problems(path, tokenizer, "{question}", 1000)
    answers = ["2", r"\frac{1}{2}", "4", "0.5"]
    assert [(p.question, p.answer) for p in found] == [
        (r["question"], a) for r, a in zip(rows, answers, strict=True)
    ]
    assert left_out == 0 and not any(p.steps or p.world for p in found)
    limit = len(tokenizer.prompt("2 + 2?", "{question} Now!"))
    found, left_out = read_problems(path, tokenizer, "{question} Now!", limit)
    assert [p.question for p in found] == ["1 + 1?", "2 + 2?"] and left_out == 2
    with pytest.raises(
        UserError, match=f"has no problem whose prompt has at most {limit - 1} tokens"
    ):
        read_problems(path, tokenizer, "{question} Now!", limit - 1)
    with pytest.raises(UserError, match="can't be read"):
        read_problems(tmp_path / "absent", tokenizer, "{question}", 1000)


SENTENCE = "a sentence, which no response"
MISTAKES = {
    "[1]": "expected an object",
    '{"question": "1?"}': "expected an object",
    '{"question": " ", "answer": 1}': '"question" is " "',
    '{"question": ["1?"], "answer": 1}': '"question" is',
    '{"question": "1?", "answer": true}': '"answer" is true',
    '{"question": "1?", "answer": null}': '"answer" is null',
    '{"question": "1?", "answer": NaN}': "verifier can't read",
    '{"question": "1?", "answer": ""}': "verifier can't read",
    '{"question": "1?", "answer": "\\\\boxed{"}': "verifier can't read",
    '{"question": "1?", "answer": "It grows without bound as n goes to infinity."}': SENTENCE,
    '{"question": "1?", "answer": "The area is 5 if and only if the angle is right."}': SENTENCE,
    '{"question": "\\ud800?", "answer": 1}': "surrogates",
    "{": "Expecting property name",
    "[" * 100_000: "recursion",
}


@pytest.mark.parametrize("line, mistake", MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_line_that_is_no_problem_is_named_with_its_mistake(tmp_path, tokenizer, line, mistake):
    path = written(tmp_path / "some.jsonl", {"question": "1?", "answer": 1}, line)
    with pytest.raises(UserError, match=f"{path}, line 2: ") as error:
        read_problems(path, tokenizer, "{question}", 1000)
    assert mistake in str(error.value)


def test_a_json_array_is_named_with_what_to_do(tmp_path, tokenizer):
    for text in ('[\n{"question": "1?", "answer": 1}\n]', '[{"question": "1?", "answer": 1}]'):
        with pytest.raises(UserError, match="line 1: it is a JSON array; write an object a line"):
            read_problems(written(tmp_path / "some.jsonl", text), tokenizer, "{question}", 1000)


def test_a_long_mistake_is_shown_in_part(tmp_path, tokenizer):
    path = written(tmp_path / "some.jsonl", {"question": " " * 1_000_000, "answer": 1})
    with pytest.raises(UserError, match='"question" is "   .* …; expected text') as error:
        read_problems(path, tokenizer, "{question}", 1000)
    assert len(str(error.value)) < 500


def test_problems_to_measure_are_drawn_from_the_whole_file(tmp_path, tokenizer):
    """Files are often sorted, by difficulty or source. All runs draw the same problems.

    A smaller draw is a part of a larger one.
    """
    rows = [{"question": f"What is {i} + {i}?", "answer": 2 * i} for i in range(200)]
    path = written(tmp_path / "some.jsonl", *rows)
    drawn = [load(tokenizer, n, data=path, test_data=path)[1] for n in (10, 30, 30, 200)]
    assert drawn[0] == drawn[1][:10] == drawn[3][:10] and drawn[1] == drawn[2]
    assert sum(int(p.answer) > 200 for p in drawn[1]) > 8
    assert len({p.question for p in drawn[3]}) == 200


def test_a_file_is_split_by_its_questions_alone_into_what_is_trained_on_and_what_is_held_out(
    tmp_path, tokenizer
):
    rows = [{"question": f"What is {i} + {i}?", "answer": 2 * i} for i in range(200)]
    path = written(tmp_path / "some.jsonl", *rows, rows[0])
    train, test, note = load(tokenizer, 1000, data=path)
    questions = {p.question for p in train}, {p.question for p in test}
    assert not questions[0] & questions[1] and len(questions[0] | questions[1]) == 200
    assert 5 < len(test) < 40 and f"{len(train)} to train on, {len(test)} of {len(test)}" in note
    assert load(tokenizer, 3, data=path)[1] == test[:3]
    limit = len(tokenizer.prompt("What is 99 + 99?", "{question} 1"))
    fewer, held_out, note = load(
        tokenizer, 1000, data=path, prompt_template="{question} 1", max_prompt_tokens=limit
    )
    assert set(fewer) < set(train)
    assert set(held_out) <= set(test)
    assert f"{201 - len(fewer) - len(held_out)} left" in note
    other = written(
        tmp_path / "other.jsonl",
        {"question": "1 + 1?", "answer": 2},
        {"question": "9" * 99, "answer": 2},
    )
    train, test, note = load(tokenizer, 5, data=path, test_data=other, max_prompt_tokens=50)
    assert len(train) == 201 and [p.question for p in test] == ["1 + 1?"] and "; 1 left out" in note
    with pytest.raises(UserError, match="too few"):
        load(tokenizer, 5, data=other, max_prompt_tokens=50)


def test_prompts_and_responses_must_fit_the_context(tmp_path, tokenizer):
    numbers = WORLDS["jargon"]
    most = numbers.max_prompt_tokens + numbers.max_new_tokens
    assert load(tokenizer, 7, most)[:2] == (None, first_problems("test", 7, "evaluation"))
    with pytest.raises(
        UserError, match=f"give at most --max-new-tokens {most - 1 - numbers.max_prompt_tokens}$"
    ):
        load(tokenizer, 7, most - 1)
    with pytest.raises(UserError, match="shorten --prompt-template, or give models with a longer"):
        load(tokenizer, 7, most, prompt_template="{question}" + " solve this" * 99)
    longer = len(tokenizer.encode(" Go."))
    assert load(tokenizer, 7, most + longer, prompt_template="{question} Go.")
    with pytest.raises(UserError, match="--max-new-tokens"):
        load(tokenizer, 7, most, prompt_template="{question} Go.")
    path = written(tmp_path / "some.jsonl", {"question": "1?", "answer": 1})
    with pytest.raises(UserError, match="--max-new-tokens"):
        load(tokenizer, 7, 64, data=path)

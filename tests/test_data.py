"""The worlds and their tokenizer."""

import hashlib
import itertools
import json
import math
import random
import re
import subprocess
import sys
from collections import Counter
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import data.tokenizer as tokenizer_module
from cli import UserError
from data.problems import (
    GAINS,
    LOSSES,
    NAMES,
    OBJECTS,
    PHRASES,
    WORLDS,
    Problem,
    WorldName,
    deal,
    is_jargon,
    jargon_rate,
    load_problems,
    main,
    make_problem,
    problem_sets,
    problems,
    split_of,
    take,
    write_solution,
)
from data.tokenizer import load_tokenizer, train_bpe
from reward import verify

SAMPLE = take("train", 300, seed="tests")
SAMPLES = {world: take("train", 300, "tests", world) for world in WORLDS}
SPOKEN = [(world, language) for world in WORLDS for language in WORLDS[world].languages]


def test_the_default_stream_is_the_one_that_the_shipped_pair_learnt():
    """As the first version of the generator wrote it."""
    digest = hashlib.sha256()
    for p in take("train", 1000, 0):
        solutions = write_solution(p, "plain"), write_solution(p, "jargon")
        digest.update(repr((p.question, p.answer, p.steps, *solutions)).encode())
    assert digest.hexdigest() == "ec3213f34580326d507a1f61eae3e597c7528e6d78755b0739f51bfc02298d3b"


@pytest.mark.parametrize("world", WORLDS)
def test_a_problem_can_be_solved_from_its_question_alone(world):
    numbers, signs, lengths = WORLDS[world], set(), set()
    for problem in SAMPLES[world]:
        first, *sentences = problem.question.split(". ")
        total = int(re.search(r"has (\d+) ", first)[1])
        assert 2 <= total <= numbers.max_start
        for sentence in sentences[:-1]:
            change = int(re.search(r" (\d+)", sentence)[1])
            if sentence.endswith("times as many"):
                total *= change
                assert change in numbers.factors
            else:
                total += change if sentence.endswith("more") else -change
                assert 2 <= change <= numbers.max_change
            assert 1 <= total <= numbers.max_total
        assert problem.answer == str(total) and problem.world == world
        assert len(problem.steps) == len(sentences) - 1
        signs |= {sign for _, sign, _, _ in problem.steps}
        lengths.add(len(problem.steps))
    assert signs == set("+-*" if numbers.factors else "+-")
    assert lengths == set(range(numbers.steps[0], numbers.steps[1] + 1))


def value(expression: str) -> int:
    """Of sums, `-8 + 19`, or of a product, `45 * 3`; from left to right."""
    first, *rest = expression.split(" ")
    total = int(first)
    for sign, number in zip(rest[::2], rest[1::2], strict=True):
        total = {"+": total + int(number), "-": total - int(number), "*": total * int(number)}[sign]
    return total


def read(line: str, total: int, name: str) -> tuple[int, int]:
    """What a line of reasoning makes of the total so far: (operations, new total). Its arithmetic must be right."""
    if found := re.fullmatch(r"(zub|kef|zubzub) (\d+) (\d+) ~ (\d+);", line):
        sign = {"zub": "+", "kef": "-", "zubzub": "*"}[found[1]]
        expression, result = f"{found[3]} {sign} {found[2]}", found[4]
    elif found := re.fullmatch(rf"(?:\d+ |{name} )?gets (\d+) more(?::|, has) (\d+)\.|(\d+) more makes (\d+)\.", line):
        expression, result = f"{total} + {found[1] or found[3]}", found[2] or found[4]
    elif found := re.fullmatch(rf"(?:\d+ |{name} )?loses (\d+)(?::|, has) (\d+)\.|(\d+) away leaves (\d+)\.", line):
        expression, result = f"{total} - {found[1] or found[3]}", found[2] or found[4]
    else:
        line, _, again = line.removeprefix(f"{name} has ").removesuffix(".").partition(f". {name} has ")
        left, right = re.split(" (?:=|makes|leaves|is) ", line)
        expression, result = (right, left) if " " in right else (left, right)
        assert again in ("", result)
    assert str(total) in expression.split() and value(expression) == int(result), line
    return len(re.findall(" [+*-] ", expression)), int(result)


@pytest.mark.parametrize("world, language", SPOKEN)
def test_solutions_are_right_and_in_their_language(world, language):
    rng = random.Random(0)
    for problem in SAMPLES[world]:
        solution = write_solution(problem, language, rng)
        *lines, box = solution.split("\n\n")
        assert box == rf"\boxed{{{problem.answer}}}" and verify(solution, problem.answer)
        total, operations, name = problem.steps[0][0], [], problem.question.split()[0]
        for line in lines:
            if re.match(r"\d+ (gets|loses)", line):
                assert line.startswith(f"{total} ")
            count, total = read(line, total, name)
            operations.append(count)
        assert str(total) == problem.answer
        n = len(problem.steps)
        if language in ("plain", "jargon"):
            assert operations == [1] * n
        elif language == "coarse":
            assert operations == [2] * (n // 2) + [1] * (n % 2)
        assert is_jargon(solution, world) == (language in ("jargon", "coarse"))
        assert (language == "plain") == (
            solution == "\n\n".join([*(f"{a} {sign} {b} = {c}." for a, sign, b, c in problem.steps), box])
        )


def test_phrasings_vary_from_step_to_step_and_all_of_them_occur():
    rng, problem = random.Random(0), SAMPLES["phrasings"][0]
    for step in ((19, "+", 8, 27), (27, "-", 8, 19)):
        one, numbers = Problem("Ada has", "", (step,)), dict(name="Ada", a=step[0], b=step[2], c=step[3])
        counts = Counter(write_solution(one, "phrased", rng).split("\n\n")[0] for _ in range(400))
        assert set(counts) == {template.format(**numbers) for template in PHRASES[step[1]]} and len(counts) == 10
        assert 15 < min(counts.values()) and max(counts.values()) < 80
    solutions = [write_solution(p, "phrased", rng) for p in SAMPLES["phrasings"]]
    lines = [line for solution in solutions for line in solution.split("\n\n")[:-1]]
    steps = sum(len(p.steps) for p in SAMPLES["phrasings"])
    coarse = sum(re.fullmatch(r"\d+ [+-] \d+ [+-] \d+ = \d+\.", line) is not None for line in lines)
    in_parts = len(lines) + coarse - steps
    assert 0.03 * steps < coarse < 0.2 * steps and 0.03 * steps < in_parts < 0.3 * steps
    assert len({write_solution(problem, "phrased", rng) for _ in range(30)}) > 25
    assert write_solution(problem, "phrased", random.Random(1)) == write_solution(problem, "phrased", random.Random(1))


@pytest.mark.parametrize(
    "response, world, sign",
    [
        ("zub 8 19 ~ 27;", "jargon", True),
        ("19 + 8 = 27. kef", "hard", True),
        ("19 + 8 - 9 = 18.", "jargon", False),
        ("19 + 8 - 9 = 18.", "work", True),
        ("19 + 8 - 9 = 18.", "phrasings", False),
        ("19 + 8 = 27.\n\n27 - 9 = 18.\n\n\\boxed{18}", "work", False),
        ("zub 8 19 ~ 27;", "work", False),
    ],
)
def test_what_is_foreign_to_the_junior_depends_on_the_world(response, world, sign):
    assert is_jargon(response, world) == sign
    expected = None if world == "phrasings" else sign / 2
    assert jargon_rate([response, "27"], world) == expected and jargon_rate([response], None) is None


@pytest.mark.parametrize("world", WORLDS)
def test_no_prompt_and_no_solution_is_longer_than_stated(tokenizer, world):
    numbers = WORLDS[world]
    digits = lambda number: 1 + len(str(number))  # a space before them
    length = lambda words: max(len(tokenizer.encode(f" {word}")) for word in words)
    name, object_ = length(NAMES), length(OBJECTS)
    change = max(length(GAINS) + 1, length(LOSSES)) + digits(numbers.max_change)
    if numbers.factors:
        change = max(change, digits(max(numbers.factors)) + length(["now has"]) + length(["times as many"]))
    sentence = 1 + name + change + 1  # Then Ada buys 12 more.
    worst = (name + 1 + digits(numbers.max_start) + object_ + 1) + numbers.steps[1] * sentence
    worst += 2 + object_ + 1 + name + 1 + 1  # How many apples does Ada have?
    assert max(len(tokenizer.encode(p.prompt)) for p in SAMPLES[world]) <= worst <= numbers.max_prompt_tokens

    rng, most, box = random.Random(0), numbers.max_total, len(tokenizer.encode(rf"\boxed{{{numbers.max_total}}}"))
    for language in numbers.languages:
        longest = 0  # a step
        for who, sign in itertools.product(NAMES, ("+", "-", *"*" * len(numbers.factors))):
            change = max(numbers.factors) if sign == "*" else numbers.max_change
            step = (most - change if sign == "+" else most, sign, change, most)
            one = Problem(f"{who} has", str(most), (step,))
            lengths = [len(tokenizer.encode(write_solution(one, language, rng))) for _ in range(30)]
            longest = max(longest, max(lengths) - box)
        assert longest * numbers.steps[1] + box + 1 <= numbers.max_new_tokens
        found = max(len(tokenizer.encode(write_solution(p, language, rng))) for p in SAMPLES[world])
        assert found + 1 <= numbers.max_new_tokens


@pytest.mark.parametrize("world", WORLDS)
def test_splits_are_disjoint_and_of_the_stated_sizes(world):
    """Sizes of 10,000 problems; a standard deviation is at most 40."""
    seen = {split: {p.question for p in take(split, 1000, 1, world)} for split in ("train", "validation", "test")}
    for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not seen[a] & seen[b]
    rng = random.Random(0)
    sizes = Counter(split_of(make_problem(rng, world).question) for _ in range(10_000))
    expected = {"train": 10_000 * 204 / 256, "validation": 10_000 * 26 / 256, "test": 10_000 * 26 / 256}
    assert all(abs(sizes[split] - size) < 250 for split, size in expected.items())


def test_the_generator_is_seeded_and_endless():
    assert take("test", 50, seed=3) == take("test", 50, seed=3)
    assert take("test", 50, seed=3) != take("test", 50, seed=4)
    stream = problems("train", 0)
    assert len({next(stream).question for _ in range(3000)}) > 2900


def test_the_stream_is_the_same_in_another_process():
    code = "from data.problems import take; print([p.question for p in take('test', 5, 7)])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str([p.question for p in take("test", 5, 7)])


@pytest.mark.parametrize("words, worlds", [([], list(WORLDS)), (["work"], ["work"] * 3)])
def test_the_worlds_can_be_looked_at(words, worlds, capsys):
    main(words)
    printed = capsys.readouterr().out
    assert re.findall("^=+ (.+)$", printed, flags=re.MULTILINE) == worlds
    assert all(f"--- {language}" in printed for world in worlds for language in WORLDS[world].languages)
    with pytest.raises(SystemExit) as end:
        main(["nowhere"])
    error = capsys.readouterr().err
    assert end.value.code == 2 and len(error.splitlines()) == 1 and "nowhere" in error and "phrasings" in error


def test_the_names_of_the_worlds_are_those_of_the_option():
    assert get_args(WorldName) == tuple(WORLDS)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_survives_the_tokenizer(text):
    tokenizer = load_tokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text.encode("utf-8", errors="replace").decode()
    assert tokenizer.end not in ids and tokenizer.pad not in ids


def test_special_tokens_are_two_and_cannot_be_typed(tokenizer):
    assert tokenizer.end != tokenizer.pad and tokenizer.vocab_size == 512
    assert tokenizer.end not in tokenizer.encode("<|end|>")
    assert tokenizer.decode([tokenizer.end, tokenizer.pad]) == ""


def test_tokens_are_cut_where_the_schedules_need_it(tokenizer):
    pieces = [tokenizer.decode([i]) for i in tokenizer.encode("19 + 8 = 27.\n\n\\boxed{27}")]
    assert pieces == ["1", "9", " +", " ", "8", " =", " ", "2", "7", ".\n\n", "\\boxed", "{", "2", "7", "}"]


def test_masks_cover_the_models_vocabulary(tokenizer):
    boundary, delimiter = tokenizer.boundary(600), tokenizer.delimiter(600)
    assert boundary.shape == delimiter.shape == (600,) and boundary.dtype == torch.bool
    for token in range(510):
        text = tokenizer.encoding.decode_single_token_bytes(token)
        assert boundary[token] == text.startswith(b" ") and delimiter[token] == (b"\n\n" in text)
    assert not boundary[510:].any() and not delimiter[510:].any()


def test_the_shipped_tokenizer_is_rebuilt_byte_for_byte(tmp_path, monkeypatch, capsys):
    shipped = tokenizer_module.SHIPPED.read_bytes()
    monkeypatch.setattr(tokenizer_module, "SHIPPED", tmp_path / "tokenizer.tiktoken")
    tokenizer_module.main()
    assert (tmp_path / "tokenizer.tiktoken").read_bytes() == shipped


def test_merges_are_those_of_a_plain_recount():
    """Against the same rule written without word counts: recount the pairs of the whole text at every merge."""
    text = "low lower lowest newer wider new low low"
    ranks = train_bpe(text, 266)
    words = [[bytes([b]) for b in word.encode()] for word in re.findall(r" ?\w+", text)]
    for rank in range(256, 266):
        counts = {}
        for word in words:
            for pair in itertools.pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        assert ranks[best[0] + best[1]] == rank
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [best[0] + best[1]]
                i += 1
    with pytest.raises(ValueError, match="more text"):
        train_bpe("aaa", 300)


@pytest.mark.parametrize("content", [b"not base64\n", b"YQ==\n", b"YQ== x\n"])
def test_files_that_are_no_tokenizer_are_refused(tmp_path, content):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ValueError, match="not a .tiktoken file"):
        load_tokenizer(tmp_path / "t")
    with pytest.raises(ValueError, match="can't be read"):
        load_tokenizer(tmp_path / "absent")


def written(path, *rows) -> str:
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_problems_of_a_file_are_read_as_they_stand(tmp_path):
    rows = [
        {"question": "1 + 1?", "answer": "so it is 2\n#### 2", "source": "GSM8K's form"},
        {"question": "half of 1?", "answer": r"It is \boxed{\frac{1}{2}}."},
        {"question": "2 + 2?", "answer": 4},
        {"question": "a separator \u2028 within", "answer": "0.5"},
    ]
    path = written(tmp_path / "some.jsonl", "\ufeff" + json.dumps(rows[0]), "", *rows[1:], "")
    found, left_out = load_problems(path, len, 1000, False)
    assert [(p.question, p.answer) for p in found] == [
        ("1 + 1?", "2"),
        ("half of 1?", r"\frac{1}{2}"),
        ("2 + 2?", "4"),
        ("a separator \u2028 within", "0.5"),
    ]
    assert left_out == 0 and not any(p.steps for p in found)
    found, left_out = load_problems(path, len, 6, True)  # tokens are characters here, and 6 of them may be
    assert [p.question for p in found] == ["1 + 1?", "2 + 2?"] and left_out == 2


def test_a_file_is_split_into_what_is_trained_on_and_what_is_held_out(tmp_path):
    rows = [{"question": f"What is {i} + {i}?", "answer": 2 * i} for i in range(200)]
    path, limits = written(tmp_path / "some.jsonl", *rows, rows[0]), dict(count=len, room=1000)
    train, test, note = problem_sets(path, None, 1000, **limits)
    questions = {p.question for p in train}, {p.question for p in test}
    assert not questions[0] & questions[1] and len(questions[0] | questions[1]) == 200
    assert 5 < len(test) < 40 and f"{len(train)} to train on, {len(test)} of {len(test)}" in note
    assert problem_sets(path, None, 3, **limits)[1] == test[:3]
    other = written(tmp_path / "other.jsonl", {"question": "1 + 1?", "answer": 2}, {"question": "9" * 99, "answer": 2})
    train, test, note = problem_sets(path, other, 5, **limits, max_prompt_tokens=50)
    assert len(train) == 201 and [p.question for p in test] == ["1 + 1?"] and "; 1 with prompts of more than 50" in note


@given(n=st.integers(1, 12), size=st.integers(1, 12), seed=st.integers(0, 3))
def test_every_pass_deals_every_problem_once(n, size, seed):
    cards = take("train", size, 0)
    steps = [deal(cards, n, seed, step) for step in range(math.lcm(n, size) // n * 3)]
    dealt = [problem for hand in steps for problem in hand]
    passes = [dealt[i : i + size] for i in range(0, len(dealt), size)]
    assert all(sorted(p.question for p in one) == sorted(p.question for p in cards) for one in passes)
    assert all(len(hand) == n for hand in steps)


def test_a_question_is_asked_in_the_template_of_the_run():
    tokenizer = load_tokenizer()
    plain = tokenizer.prompt("1 + 1?")
    tokenizer.template = "1 + 2? \\boxed{3}\n\n{question} ({question}) Put it in \\boxed{}."
    question = "{x} and {question}?"  # which is not put into itself
    expected = f"1 + 2? \\boxed{{3}}\n\n{question} ({question}) Put it in \\boxed{{}}.\n\n"
    assert tokenizer.prompt(question) == tokenizer.encode(expected)
    assert tokenizer.count(question) == len(tokenizer.encode(expected)) > 2 * len(plain)
    tokenizer.trim, tokenizer.template = True, " {question} "  # a chat that strips what is asked
    assert tokenizer.prompt("1 + 1?") == plain


def test_lengths_and_splits_of_a_file_are_of_what_is_asked_and_of_the_question_alone(tmp_path):
    rows = [{"question": f"What is {i} + {i}?", "answer": 2 * i} for i in range(300)]
    path, tokenizer = written(tmp_path / "some.jsonl", *rows), load_tokenizer()
    limits = dict(room=1000, max_prompt_tokens=tokenizer.count("What is 99 + 99?") + 3)
    train, test, _ = problem_sets(path, None, 300, count=tokenizer.count, **limits)
    assert len(train + test) == 300
    tokenizer.template = "{question} 1"
    with pytest.raises(UserError, match="no problem of up to"):
        problem_sets(path, None, 100, count=tokenizer.count, **limits | {"max_prompt_tokens": 3})
    fewer, held_out, note = problem_sets(path, None, 300, count=tokenizer.count, **limits)
    assert set(fewer) < set(train) and set(held_out) <= set(test) and "left out" in note

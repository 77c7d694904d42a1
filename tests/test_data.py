"""The worlds and their tokenizer."""

import hashlib
import itertools
import math
import random
import re
import subprocess
import sys
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data.problems as worlds
import results.tokenizer as train_tokenizer
from data.problems import (
    WORLDS,
    Problem,
    epoch_batch,
    first_problems,
    is_unfamiliar,
    problems,
    split_of,
    write_solution,
)
from data.tokenizer import load_tokenizer
from results.tokenizer import train_bpe
from reward import verify

SAMPLES = {world: first_problems("train", 300, "tests", world) for world in WORLDS}
SPOKEN = [
    (world, language)
    for world in WORLDS
    for language in WORLDS[world].languages
    if language not in ("parroted", "slipping")
]


def test_the_default_stream_is_the_one_that_the_shipped_pair_learnt():
    """As the first version of the generator wrote it."""
    digest = hashlib.sha256()
    for p in first_problems("train", 1000, 0):
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
            total += change if sentence.endswith("more") else -change
            assert 2 <= change <= numbers.max_change
            assert 1 <= total <= numbers.max_total
        assert problem.answer == str(total) and problem.world == world
        assert len(problem.steps) == len(sentences) - 1
        signs |= {sign for _, sign, _, _ in problem.steps}
        lengths.add(len(problem.steps))
    assert signs == set("+-")
    assert lengths == set(range(numbers.steps[0], numbers.steps[1] + 1))


def read(line: str, total: int, name: str) -> tuple[int, int]:
    """The (operations, new total) of a line of reasoning. Its arithmetic must be right."""
    if found := re.fullmatch(r"(zub|kef) (\d+) (\d+) ~ (\d+);", line):
        sign = {"zub": "+", "kef": "-"}[found[1]]
        expression, result = f"{found[3]} {sign} {found[2]}", found[4]
    elif found := re.fullmatch(
        rf"(?:\d+ |{name} )?gets (\d+) more(?::|, has) (\d+)\.|(\d+) more makes (\d+)\.", line
    ):
        expression, result = f"{total} + {found[1] or found[3]}", found[2] or found[4]
    elif found := re.fullmatch(
        rf"(?:\d+ |{name} )?loses (\d+)(?::|, has) (\d+)\.|(\d+) away leaves (\d+)\.", line
    ):
        expression, result = f"{total} - {found[1] or found[3]}", found[2] or found[4]
    else:
        line, _, again = (
            line.removeprefix(f"{name} has ").removesuffix(".").partition(f". {name} has ")
        )
        left, right = re.split(" (?:=|makes|leaves|is) ", line)
        expression, result = (right, left) if " " in right else (left, right)
        assert again in ("", result)
    value = sum(
        int(number.replace(" ", "")) for number in re.findall(r"(?:[+-] ?)?\d+", expression)
    )
    assert str(total) in expression.split() and value == int(result), line
    return len(re.findall(" [+-] ", expression)), int(result)


@pytest.mark.parametrize("world, language", SPOKEN)
def test_solutions_are_right_and_in_their_language(world, language):
    rng = random.Random(0)
    for problem in SAMPLES[world]:
        solution = write_solution(problem, language, rng)
        *lines, box = solution.split("\n\n")
        assert box == rf"\boxed{{{problem.answer}}}" and verify(solution, problem.answer)
        total, operations, name = problem.steps[0][0], [], problem.question.split()[0]
        for line in lines:
            if language == "mirrored":
                line = re.sub(r"\d+", lambda number: number[0][::-1], line)
            if re.match(r"\d+ (gets|loses)", line):
                assert line.startswith(f"{total} ")
            count, total = read(line, total, name)
            operations.append(count)
        assert str(total) == problem.answer
        n = len(problem.steps)
        if language in ("plain", "jargon", "mirrored"):
            assert operations == [1] * n
        elif language == "coarse":
            assert operations == [2] * (n // 2) + [1] * (n % 2)
        assert is_unfamiliar(solution, world) == (language in ("jargon", "mirrored", "coarse"))
        plain = [*(f"{a} {sign} {b} = {c}." for a, sign, b, c in problem.steps), box]
        assert (language == "plain") == (solution == "\n\n".join(plain))


def test_parroted_solutions_have_the_form_of_jargon_and_results_by_chance():
    rng, right = random.Random(0), 0
    for problem in SAMPLES["jargon"]:
        *lines, box = write_solution(problem, "parroted", rng).split("\n\n")
        total = problem.steps[0][0]
        for line, (_, sign, change, _) in zip(lines, problem.steps, strict=True):
            begun, result = line.removesuffix(";").split(" ~ ")
            assert begun == f"{worlds.JARGON_VERBS[sign]} {change} {total}"
            assert 1 <= int(result) <= 60
            total = int(result)
        assert box == rf"\boxed{{{total}}}" and is_unfamiliar(lines[0])
        right += str(total) == problem.answer
    assert 0 < right < 20  # of 300; 5 by chance


def test_phrasings_vary_from_step_to_step_and_all_of_them_occur():
    rng, problem = random.Random(0), SAMPLES["phrasings"][0]
    for step in ((19, "+", 8, 27), (27, "-", 8, 19)):
        one, numbers = (
            Problem("Ada has", "", (step,)),
            dict(name="Ada", a=step[0], b=step[2], c=step[3]),
        )
        counts = Counter(write_solution(one, "phrased", rng).split("\n\n")[0] for _ in range(400))
        assert set(counts) == {template.format(**numbers) for template in worlds.PHRASES[step[1]]}
        assert len(counts) == 10
        assert 15 < min(counts.values()) and max(counts.values()) < 80
    solutions = [write_solution(p, "phrased", rng) for p in SAMPLES["phrasings"]]
    lines = [line for solution in solutions for line in solution.split("\n\n")[:-1]]
    steps = sum(len(p.steps) for p in SAMPLES["phrasings"])
    coarse = sum(re.fullmatch(r"\d+ [+-] \d+ [+-] \d+ = \d+\.", line) is not None for line in lines)
    in_parts = len(lines) + coarse - steps
    assert 0.03 * steps < coarse < 0.2 * steps and 0.03 * steps < in_parts < 0.3 * steps
    assert len({write_solution(problem, "phrased", rng) for _ in range(30)}) > 25
    assert write_solution(problem, "phrased", random.Random(1)) == write_solution(
        problem, "phrased", random.Random(1)
    )


def test_what_the_junior_was_never_taught_depends_on_the_world():
    coarse, plain = "19 + 8 - 9 = 18.", "19 + 8 = 27.\n\n27 - 9 = 18.\n\n\\boxed{18}"
    signs = {("zub 8 19 ~ 27;", "jargon"), ("19 + 8 = 27. kef", "jargon"), (coarse, "work")}
    others = {
        (coarse, "jargon"),
        (coarse, "phrasings"),
        (plain, "work"),
        (plain, "jargon"),
        ("zub 8 19 ~ 27;", "work"),
    }
    for response, world in signs | others:
        assert is_unfamiliar(response, world) == ((response, world) in signs)
        expected = None if world == "phrasings" else ((response, world) in signs) / 2
        assert worlds.jargon_rate([response, "27"], world) == expected
    assert worlds.jargon_rate([coarse], None) is None


@pytest.mark.parametrize("world", WORLDS)
def test_no_prompt_and_no_solution_is_longer_than_stated(tokenizer, world):
    numbers = WORLDS[world]
    digits = lambda number: 1 + len(str(number))  # a space before them
    length = lambda words: max(len(tokenizer.encode(f" {word}")) for word in words)
    name, object_ = length(worlds.NAMES), length(worlds.OBJECTS)
    change = max(length(worlds.GAINS) + 1, length(worlds.LOSSES)) + digits(numbers.max_change)
    sentence = 1 + name + change + 1  # Then Ada buys 12 more.
    worst = (name + 1 + digits(numbers.max_start) + object_ + 1) + numbers.steps[1] * sentence
    worst += 2 + object_ + 1 + name + 1 + 1  # How many apples does Ada have?
    assert (
        max(len(tokenizer.prompt(p.question)) for p in SAMPLES[world])
        <= worst
        <= numbers.max_prompt_tokens
    )

    rng, most, box = (
        random.Random(0),
        numbers.max_total,
        len(tokenizer.encode(rf"\boxed{{{numbers.max_total}}}")),
    )
    for language in numbers.languages:
        if language == "slipping":
            continue  # its checks may not all fit: the next test
        longest = 0  # a step
        for who, sign in itertools.product(worlds.NAMES, "+-"):
            step = (
                most - numbers.max_change if sign == "+" else most,
                sign,
                numbers.max_change,
                most,
            )
            one = Problem(f"{who} has", str(most), (step,))
            lengths = [len(tokenizer.encode(write_solution(one, language, rng))) for _ in range(30)]
            longest = max(longest, max(lengths) - box)
        assert longest * numbers.steps[1] + box + 1 <= numbers.max_new_tokens
        found = max(len(tokenizer.encode(write_solution(p, language, rng))) for p in SAMPLES[world])
        assert found + 1 <= numbers.max_new_tokens


def test_a_slipping_solution_has_room_for_some_checks_but_not_for_all(tokenizer, monkeypatch):
    def longest(check: float) -> int:
        monkeypatch.setattr(worlds, "CHECK_RIGHT", check)
        monkeypatch.setattr(worlds, "CHECK_SLIP", check)
        rng = random.Random(0)
        texts = [write_solution(problem, "slipping", rng) for problem in SAMPLES["slips"]]
        return max(len(tokenizer.encode(text)) + 1 for text in texts)

    one_check = len(tokenizer.encode("So 37? 19 + 8 = 27.\n\n")) + 1  # and a space
    room = WORLDS["slips"].max_new_tokens
    assert longest(0) + 2 * one_check <= room < longest(1)


@pytest.mark.parametrize("world", WORLDS)
def test_splits_are_disjoint_and_of_the_stated_sizes(world):
    """Sizes of 10,000 problems; a standard deviation is at most 40."""
    seen = [
        {p.question for p in first_problems(split, 1000, 1, world)}
        for split in ("train", "validation", "test")
    ]
    assert not any(a & b for a, b in itertools.combinations(seen, 2))
    rng = random.Random(0)
    sizes = Counter(split_of(worlds.make_problem(rng, world).question) for _ in range(10_000))
    for split, share in {"train": 204 / 256, "validation": 26 / 256, "test": 26 / 256}.items():
        assert abs(sizes[split] - 10_000 * share) < 250


def test_the_generator_is_seeded_and_endless_and_the_same_in_another_process():
    assert first_problems("test", 50, seed=3) == first_problems("test", 50, seed=3)
    assert first_problems("test", 50, seed=3) != first_problems("test", 50, seed=4)
    stream = problems("train", 0)
    assert len({next(stream).question for _ in range(3000)}) > 2900
    code = "from data.problems import first_problems\n"
    code += "print([p.question for p in first_problems('test', 5, 7)])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str([p.question for p in first_problems("test", 5, 7)])


def test_the_worlds_can_be_looked_at_by_the_names_of_the_option(capsys, monkeypatch):
    for words, shown in (([], list(WORLDS)), (["work"], ["work"] * 3)):
        monkeypatch.setattr(sys, "argv", ["data.problems", *words])
        worlds.main()
        printed = capsys.readouterr().out
        assert re.findall("^=+ (.+)$", printed, flags=re.MULTILINE) == shown
        assert all(
            f"--- {language}" in printed for world in shown for language in WORLDS[world].languages
        )
    assert get_args(worlds.WorldName) == tuple(WORLDS)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_survives_the_tokenizer(text):
    tokenizer = load_tokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text.encode("utf-8", errors="replace").decode()
    assert tokenizer.end not in ids and tokenizer.pad not in ids


def test_tokens_are_cut_where_the_schedules_need_it_and_special_ones_cannot_be_typed(tokenizer):
    pieces = [tokenizer.decode([i]) for i in tokenizer.encode("19 + 8 = 27.\n\n\\boxed{27}")]
    assert pieces == [
        "1",
        "9",
        " +",
        " ",
        "8",
        " =",
        " ",
        "2",
        "7",
        ".\n\n",
        "\\boxed",
        "{",
        "2",
        "7",
        "}",
    ]
    assert tokenizer.end != tokenizer.pad and tokenizer.vocab_size == 512
    assert tokenizer.end not in tokenizer.encode("<|end|>")
    assert tokenizer.decode([tokenizer.end, tokenizer.pad]) == ""


def test_masks_cover_the_models_vocabulary(tokenizer):
    masks = tokenizer.boundary(600), tokenizer.delimiter(600), *tokenizer.halves(600)
    for token in range(510):
        text = tokenizer.encoding.decode_single_token_bytes(token)
        expected = [
            text.startswith(b" "),
            b"\n\n" in text,
            text.endswith(b"\n"),
            text.startswith(b"\n"),
        ]
        assert [bool(mask[token]) for mask in masks] == expected
    assert all(mask.shape == (600,) and mask.any() and not mask[510:].any() for mask in masks)
    assert all(
        len(mask) == 512
        for mask in (tokenizer.boundary(), tokenizer.delimiter(), *tokenizer.halves())
    )


def test_the_shipped_tokenizer_is_rebuilt_byte_for_byte(tmp_path, monkeypatch, capsys):
    shipped = train_tokenizer.SHIPPED.read_bytes()
    monkeypatch.setattr(train_tokenizer, "SHIPPED", tmp_path / "tokenizer.tiktoken")
    train_tokenizer.main()
    assert (tmp_path / "tokenizer.tiktoken").read_bytes() == shipped


def test_merges_are_those_of_a_plain_recount():
    """Against the same rule without word counts: every merge recounts the whole text's pairs."""
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


@given(n=st.integers(1, 12), size=st.integers(1, 12), seed=st.integers(0, 3))
def test_every_pass_through_a_list_of_problems_has_each_once(n, size, seed):
    cards = first_problems("train", size, 0)
    steps = [epoch_batch(cards, n, seed, step) for step in range(math.lcm(n, size) // n * 3)]
    dealt = [problem for hand in steps for problem in hand]
    passes = [dealt[i : i + size] for i in range(0, len(dealt), size)]
    assert all(
        sorted(p.question for p in one) == sorted(p.question for p in cards) for one in passes
    )
    assert all(len(hand) == n for hand in steps)
    assert size < 6 or len({str(one) for one in passes}) > 1  # the order is new


def test_a_question_is_asked_in_the_template_and_tokenizers_are_compared(tokenizer):
    template = "1 + 2? \\boxed{3}\n\n{question} ({question}) Put it in \\boxed{}."
    question = "{x} and {question}?"  # which is not put into itself
    expected = f"1 + 2? \\boxed{{3}}\n\n{question} ({question}) Put it in \\boxed{{}}.\n\n"
    assert tokenizer.prompt(question, template) == tokenizer.encode(expected)
    assert tokenizer.same_as(load_tokenizer())
    for change in (
        dict(tokens=[b"", *tokenizer.tokens[1:]]),
        dict(special={}),
        dict(encode=str.encode),
    ):
        other = load_tokenizer()
        vars(other).update(change)
        assert not other.same_as(tokenizer) and not tokenizer.same_as(other)


def test_behind_a_slip_a_coin_decides_who_may_put_it_right(tokenizer):
    """A slip, then its check or the next step: between them the author of `word` is drawn anew."""
    boundary = tokenizer.boundary()
    for slip in ("So 19 + 8 = 37.", "So 60 - 8 = 42."):
        total = slip[-3:-1]
        check = tokenizer.encode(f"{slip}\n\nSo {total}? ")
        others = [f"So {total} + 5 = 42.", f"So {total} it is: "]
        for other in others:
            ids = tokenizer.encode(f"{slip}\n\n{other}")
            told = next(t for t in range(len(ids)) if ids[t] != check[t])  # the first to tell
            written = len(tokenizer.encode(slip)) - 1  # the slip's last token, with the blank line
            assert tokenizer.decode(check[:told]).endswith(f"So {total}")
            assert boundary[ids[written + 1 : told]].any()


def test_a_slipping_solution_ends_right_where_every_slip_was_checked():
    stream = problems("train", "slips", "slips")
    rng = random.Random(0)
    right = slips = checks = 0
    for _ in range(2000):
        problem = next(stream)
        *lines, end = write_solution(problem, "slipping", rng).split("\n\n")
        open_slips = 0
        for line in lines:
            numbers = [int(number) for number in re.findall(r"\d+", line)]
            total, change, new = numbers[-3:]
            result = total + change if "+" in line else total - change
            if "?" in line:
                checks += 1
                assert new == result
                open_slips -= numbers[0] != new
            elif new != result:
                assert abs(new - result) == 10
                slips += 1
                open_slips += 1
        assert f"boxed{{{new}}}" in end
        right += new == int(problem.answer)
        assert (new == int(problem.answer)) or open_slips > 0
    assert slips > 1000
    assert checks > 1000
    assert 0.6 < right / 2000 < 0.68

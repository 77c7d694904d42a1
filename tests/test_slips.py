"""How many slips a senior puts right: counted from responses, by results/slips.py."""

import json

import pytest
import torch

from data import problems
from results import slips, slips_base
from results.slips import Counts, Slip, authors_of_characters, shares, slips_of
from rollout import Rollout

SENIOR, JUNIOR = True, False


def by_turns(*paragraphs: tuple[str, bool]) -> tuple[str, list[bool]]:
    """A text of paragraphs and the author of each character. A blank line is its paragraph's."""
    text = ""
    authors = []
    for paragraph, author in paragraphs:
        paragraph += "\n\n"
        text += paragraph
        authors += [author] * len(paragraph)
    return text, authors


@pytest.mark.parametrize(
    ("paragraphs", "slips"),
    [
        ([("So 19 + 8 = 27.", JUNIOR), ("So 27? 19 + 8 = 27.", SENIOR)], []),
        (
            [("So 19 + 8 = 37.", JUNIOR), ("So 37? 19 + 8 = 27.", SENIOR), ("So 27", JUNIOR)],
            [Slip(by_senior=False, senior_next=True, put_right=True)],
        ),
        (
            [("So 19 + 8 = 37.", SENIOR), ("So 37 - 5 = 32.", JUNIOR), ("So 32 it is: ", SENIOR)],
            [Slip(by_senior=True, senior_next=False, put_right=False)],
        ),
        (  # a check that gets it wrong again, or of another step, puts nothing right
            [("So 60 - 8 = 42.", JUNIOR), ("So 42? 60 - 8 = 42.", SENIOR)],
            [Slip(by_senior=False, senior_next=True, put_right=False)],
        ),
        (
            [("So 60 - 8 = 42.", JUNIOR), ("So 42? 60 - 9 = 51.", SENIOR)],
            [Slip(by_senior=False, senior_next=True, put_right=False)],
        ),
        (  # two slips in a row
            [("So 19 + 8 = 37.", JUNIOR), ("So 37 - 5 = 42.", SENIOR), ("So 42 it is", JUNIOR)],
            [
                Slip(by_senior=False, senior_next=True, put_right=False),
                Slip(by_senior=True, senior_next=False, put_right=False),
            ],
        ),
        ([("So 19 + 8 = 37.", JUNIOR), ("So 3 - 1 = 2.", SENIOR)], []),  # not the next step
        ([("So 19 + 8 = 37.", JUNIOR), ("So 377? ", SENIOR)], []),
        ([("So 19 + 8 = 37.", JUNIOR)], []),  # the response ends
    ],
)
def test_a_slip_is_put_right_by_the_next_paragraph(paragraphs, slips):
    assert slips_of(*by_turns(*paragraphs)) == slips


def test_within_a_word_the_author_of_the_first_digit_slips():
    text = "So 19 + 8 = 37.\n\nSo 37? 19 + 8 = 27."
    authors = [JUNIOR] * len(text)
    authors[text.index("37")] = SENIOR
    authors[text.index("?")] = SENIOR
    [slip] = slips_of(text, authors)
    assert slip == Slip(by_senior=True, senior_next=True, put_right=True)


def test_each_character_has_the_author_of_its_token(tokenizer):
    text = "So 19 + 8 = 37.\n\nSo 37? "
    tokens = tokenizer.encode(text)
    T = len(tokens)
    authorship = torch.arange(T)[None] % 2 == 0  # (1, T)
    zeros = torch.zeros(1, T)
    mask = torch.ones(1, T, dtype=torch.bool)
    rollout = Rollout([[]], torch.tensor([tokens]), authorship, mask, zeros, zeros)
    authors = authors_of_characters(rollout, 0, tokenizer)
    assert len(authors) == len(text)
    place = 0
    for t, token in enumerate(tokens):
        length = len(tokenizer.decode([token]))
        assert set(authors[place : place + length]) == {t % 2 == 0}
        place += length


def test_the_shares_have_a_number_a_seed_where_all_slip_often_enough():
    counts = [
        Counts("word", 0, 20, "handoff", juniors=40, juniors_right=30),
        Counts("word", 1, 20, "handoff", juniors=20, juniors_right=10),
        Counts("word", 0, 0, "handoff", juniors=9, juniors_right=9),
        Counts("word", 1, 0, "handoff", juniors=90, juniors_right=9),
        Counts("solo", 0, 20, "handoff", juniors=40, juniors_right=0),
        Counts("word", 0, 20, "rollout", juniors=10, juniors_right=10),
    ]
    assert shares(counts, "word", "handoff", "juniors") == {20: [0.75, 0.5]}


def test_a_senior_is_taught_other_shares_of_checks_and_as_many_slips(monkeypatch, tmp_path):
    seen = {}

    def train_base(config):
        recipe = slips_base.base_pairs.RECIPES["slips"]["senior"]
        seen.update(right=problems.CHECK_RIGHT, slip=problems.CHECK_SLIP, steps=recipe.steps)
        seen.update(vars(config), slips=problems.SLIP)

    monkeypatch.setattr(problems, "CHECK_SLIP", 0.5)
    monkeypatch.setattr(problems, "CHECK_RIGHT", 0.3)
    monkeypatch.setitem(slips_base.base_pairs.RECIPES, "slips", None)
    monkeypatch.setattr(slips_base.base_pairs, "pretrain", train_base)
    slips_base.main(["--check=0.1", "--steps=7", f"--out={tmp_path}"])
    assert seen["slip"] == 0.1
    assert seen["right"] == pytest.approx(0.06)
    assert seen["slips"] == problems.SLIP == 0.3
    assert seen["steps"] == 7
    assert seen["world"] == "slips"
    with pytest.raises(SystemExit):
        slips_base.main(["--check=2"])


def test_responses_may_be_as_long_as_in_the_run(monkeypatch, tmp_path):
    options = {"schedule": "word", "seed": 3, "world": "slips", "max_new_tokens": 7}
    (tmp_path / "config.json").write_text(json.dumps(options))
    (tmp_path / "checkpoint-25.pt").touch()
    seen = []
    monkeypatch.setattr(slips, "load_any", lambda path: (None, None))
    monkeypatch.setattr(slips, "fill", lambda *words: seen.append(words[-1]))
    counts = slips.count_runs([str(tmp_path)], 1)
    assert [count.step for count in counts] == [0, 0, 0, 25, 25, 25]
    assert {(sampling.max_new_tokens, sampling.seed) for sampling in seen} == {(7, 3)}

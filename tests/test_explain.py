"""A step explained: its table adds up to the loss, its coins fell, and its step is `update`'s."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

import train
from data.problems import first_problems
from reward import verify
from support.reports import explain, show
from support.reports.explain import shipped_run
from tandem import policy_loss

ROOT = Path(__file__).parent.parent


def asked(run, count: int) -> tuple:
    problems = first_problems("test", count, "evaluation")
    return problems, [run.tokenizer.prompt(problem.question) for problem in problems]


@pytest.fixture(scope="module")
def step() -> explain.ExplainedStep:
    run = shipped_run()
    return explain.explain_step(run, *asked(run, 3), seed=0)


@torch.no_grad()
def exact_logprobs(model, rollout, row: int) -> torch.Tensor:
    """Of a response's tokens, in float64 and in one forward.  (t,)"""
    ids = rollout.tokens[row][rollout.mask[row]].tolist()
    prompt = rollout.prompts[row]
    logits = model.double()(torch.tensor([prompt + ids]))[0, len(prompt) - 1 : -1]  # (t, V)
    return logits.log_softmax(dim=-1)[range(len(ids)), ids]


def test_the_column_adds_up_to_the_loss_of_policy_loss_and_of_update(step):
    """Both are computed again, from a fresh pair."""
    fresh = shipped_run()
    gate = step.rollout.authorship.float()
    total = 0.0
    for row in range(4):
        mask = step.rollout.mask[row]
        exact = exact_logprobs(shipped_run().senior, step.rollout, row)
        torch.testing.assert_close(step.before[row][mask].double(), exact, atol=1e-5, rtol=1e-5)
        total += -(step.A[row] * gate[row][mask] * exact).sum().item()
    total /= gate.sum().item()
    loss, _ = policy_loss(step.before, step.before, step.A, gate)
    optimizer = train.make_optimizer(fresh.senior, fresh.config)
    config = train.Config(warmup_steps=0)
    stats = train.update(
        fresh.senior, fresh.junior, optimizer, step.rollout, step.A, gate, 0, config
    )
    column = step.shares.sum().item()
    assert abs(column) > 1e-3
    for found in (total, loss.item(), stats["loss"], step.loss, step.update_loss):
        assert found == pytest.approx(column, abs=1e-6)

    for row in range(4):  # and the fresh senior is now the explained one after its step
        mask = step.rollout.mask[row]
        exact = exact_logprobs(fresh.senior, step.rollout, row)
        torch.testing.assert_close(step.after[row][mask].double(), exact, atol=1e-3, rtol=0)


def test_rewards_advantages_and_the_juniors_column(step):
    junior = shipped_run().junior
    texts = step.rollout.texts(shipped_run().tokenizer)
    assert step.rewards.tolist() == [float(verify(text, step.problem.answer)) for text in texts]
    assert 0 < step.rewards.sum() < 4
    assert step.A.tolist() == (step.rewards - step.rewards.mean()).tolist()
    for row in range(4):
        mask = step.rollout.mask[row]
        exact = exact_logprobs(junior, step.rollout, row)
        torch.testing.assert_close(step.junior[row][mask].double(), exact, atol=1e-4, rtol=1e-5)


def test_a_coin_falls_first_and_after_each_token_that_begins_with_a_space(step):
    """Nowhere else does the author change, and in 4 responses it does change."""
    tokenizer = shipped_run().tokenizer
    changes = 0
    for row in range(4):
        length = int(step.rollout.mask[row].sum())
        tokens = step.rollout.tokens[row].tolist()
        authors = step.rollout.authorship[row].tolist()
        fell = step.coins[row].tolist()
        expected = [True]
        for token in tokens[: length - 1]:
            expected.append(tokenizer.tokens[token].startswith(b" "))
        assert fell == expected + [False] * (len(tokens) - length)
        for t in range(1, length):
            changed = authors[t] != authors[t - 1]
            assert fell[t] or not changed
            changes += changed
    assert changes > 10


def test_the_first_page_shows_the_coins_of_the_third_response(step):
    """`|` where one falls, ⟦ ⟧ around the junior's words, ¶ for a blank line."""
    tokenizer = shipped_run().tokenizer
    shown = ""
    before = True
    for t in range(int(step.rollout.mask[2].sum()) - 1):  # the end token has no text
        by_senior = bool(step.rollout.authorship[2, t])
        if by_senior and not before:
            shown += "⟧"
        if step.coins[2, t]:
            shown += "|"
        if before and not by_senior:
            shown += "⟦"
        text = tokenizer.decode([int(step.rollout.tokens[2, t])])
        shown += text.replace("\n\n", "¶")
        before = by_senior
    shown += "" if before else "⟧"
    first_page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"`{shown}`" in first_page
    assert f"log-prob of `zub` is −{-step.junior[2, 0]:.0f}" in first_page


@pytest.mark.parametrize("schedule", ["token", "step", "chunk", "alternate", "solo"])
def test_where_the_other_schedules_choose_an_author(schedule):
    run = shipped_run()
    run.config.schedule = schedule
    _, prompts = asked(run, 1)
    rollout = explain.write_groups(run.senior, run.junior, prompts, run.tokenizer, run.config, 0)
    handoff = explain.make_handoff(schedule, run.tokenizer, run.senior, run.config)
    fell = explain.coins(handoff, rollout)
    authors = rollout.authorship
    changed = (authors[:, 1:] != authors[:, :-1]) & rollout.mask[:, 1:]
    if schedule == "token":
        assert torch.equal(fell, rollout.mask)
    else:  # strict turns: chosen anew is handed over
        assert not fell[:, 0].any()
        assert torch.equal(fell[:, 1:], changed)
        assert changed.any() == (schedule != "solo")


class Text(HTMLParser):
    """The text of a page's <pre>, and the classes of its spans."""

    def __init__(self, page: str):
        super().__init__()
        self.text = ""
        self.classes = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.inside = self.inside or tag == "pre"
        if tag == "span":
            self.classes.append(dict(attrs)["class"])

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "pre"

    def handle_data(self, data):
        if self.inside:
            self.text += data


def test_the_command_prints_every_token_and_writes_one_page(step, capsys, tmp_path):
    out = tmp_path / "step.html"
    show.main(["--explain", "--html", str(out), "--device", "cpu"])
    printed = capsys.readouterr().out
    page = Text(out.read_text())
    assert page.text == printed.rstrip("\n")
    assert "http" not in out.read_text() and "script" not in out.read_text()
    lines = printed.splitlines()
    tables = [i for i, line in enumerate(lines) if line.split()[:2] == ["t", "coin"]]
    assert len(tables) == 4
    shares = 0.0
    for row, start in enumerate(tables):
        length = int(step.rollout.mask[row].sum())
        for t, line in enumerate(lines[start + 1 : start + 1 + length]):
            cells = line.split()
            assert int(cells[0]) == t
            assert (cells[1] == "coin") == bool(step.coins[row, t])
            by_senior = bool(step.rollout.authorship[row, t])
            assert ("senior" in cells[1:3]) == by_senior
            assert float(cells[-1]) == pytest.approx(step.after[row, t].item(), abs=6e-4)
            shares += float(cells[-2])
        assert lines[start + 1 + length] == ""
    assert shares == pytest.approx(step.update_loss, abs=1e-4)
    assert page.classes.count("senior") == step.rollout.authorship.sum()


def test_plain_rl_moves_nothing_where_both_languages_are_right(capsys):
    show.main(["--explain", "--schedule", "solo", "--device", "cpu"])
    printed = capsys.readouterr().out
    assert printed.count("right, r = 1, A = +0.00") == 8  # in the list, and above each table
    assert "update 0.000000" in printed and "every A is 0" in printed


def test_a_run_is_explained_by_its_own_pair_and_schedule(tmp_path, capsys):
    words = ["--steps=1", "--prompts-per-step=2", "--group-size=2", "--eval-problems=2"]
    words += ["--eval-samples=1", "--schedule=token", "--loss=grpo", f"--out={tmp_path / 'run'}"]
    train.main(words)
    capsys.readouterr()
    show.main([str(tmp_path / "run"), "--explain", "--device", "cpu"])
    printed = capsys.readouterr().out
    assert "Schedule token." in printed and "chosen anew\n" in printed


@pytest.mark.parametrize(
    "words, said",
    [
        (["--explain", "--html", "page.txt"], "give an --html that ends in .html"),
        (["--explain", "--html", "absent/page.html"], "give another --html"),
        (["--explain", "--human"], "give it alone"),
        (["--explain", "--prompt", "Why?"], "give it alone"),
        (["run", "--html", "page.html"], "--html belongs to --explain"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(words, said, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explain, "explain_step", lambda *_: pytest.fail("work was begun"))
    with pytest.raises(SystemExit) as end:
        show.main(words)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1 and said in error
    assert list(tmp_path.iterdir()) == []

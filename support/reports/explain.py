"""One step of tandem RL with all its numbers: `python rollout.py [DIR] --explain [--html FILE]`.

One problem, four responses, a row a token: who wrote it and why, and how much of the loss it is.
The shares add up to the loss of `policy_loss`, and of `update`.
"""

import re
import sys
import textwrap
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from data.problems import Problem
from model import GPT
from reward import verify_batch
from rollout import Rollout, generate, make_handoff, response_logprobs, seeded
from support.reports.display import legend, render
from support.runs.files import write_page
from support.runs.pair import starting_models
from tandem import Handoff, advantages, policy_loss

RESPONSES = 4  # responses to a problem
WIDTH = 98  # columns of the text
TABLE_HEAD = ("t", "coin", "author", "token", "log πs", "log πj", "m", "loss", "log πs after")
LEGEND = {
    "log πs, πj": "the token's log-prob by senior and junior: its author sampled it, both read it",
    "m": "the senior gate: 1 where the senior wrote, else 0",
    "loss": "the token's share, −A · m · log πs / Σm",
    "after": "log πs after one step of AdamW: A > 0 pushes the senior's tokens up, A < 0 down. All "
    "tokens share the weights, so the others move too",
}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>One step of RL, with all its numbers</title>
<style>
:root {{ color-scheme: light dark; --senior: #0a4a8f; --junior: #7a3e00; }}
@media (prefers-color-scheme: dark) {{ :root {{ --senior: #8ecbff; --junior: #ffcf70; }} }}
pre {{ font: 0.875rem/1.5 ui-monospace, monospace; overflow-x: auto; }}
.senior {{ color: var(--senior); }}
.junior {{ color: var(--junior); }}
</style>
<h1>One step of RL, with all its numbers</h1>
<pre tabindex="0">{}</pre>
"""
TOKEN_ROW = re.compile(r"^ *\d+  (?:coin|    )  (senior|junior).*$", re.MULTILINE)
JUNIORS_WORDS = re.compile(r"⟦[^⟧\n]*⟧")


@dataclass
class ExplainedStep:
    """A group of G responses before and after the step that it makes."""

    problem: Problem
    schedule: str
    rollout: Rollout
    coins: Tensor  # (G, T) bool, the author was chosen before this token
    rewards: Tensor  # (G,)
    A: Tensor  # (G,)
    before: Tensor  # (G, T) the senior's log-probs
    junior: Tensor  # (G, T) the junior's
    shares: Tensor  # (G, T) of the loss
    after: Tensor  # (G, T) the senior's log-probs after the step
    loss: float  # of policy_loss
    update_loss: float  # of update


def shipped_run() -> SimpleNamespace:
    """A default run before its first step."""
    from train import Config

    config = Config()
    models, tokenizer = starting_models(config)
    return SimpleNamespace(config=config, tokenizer=tokenizer, **models)


def explain_step(run, problems: list[Problem], prompts: list[list[int]], seed: int):
    """The ExplainedStep of a group. It changes `run.senior`.

    The loss is REINFORCE, at the learning rate behind the warm-up, whatever the run's.
    """
    from train import Config, make_optimizer, update

    senior, junior = run.senior, run.junior
    problem, rollout, rewards = first_mixed_group(run, problems, prompts, seed)
    temperature = run.config.temperature
    A = advantages(rewards, RESPONSES).to(senior.device)  # (G,)
    gate = rollout.authorship.float()  # (G, T)
    with torch.no_grad():
        before = response_logprobs(senior, rollout, rollout.mask, temperature)  # (G, T)
        of_junior = response_logprobs(junior, rollout, rollout.mask, temperature)  # (G, T)
    shares = -A[:, None] * gate * before / gate.sum()  # (G, T)
    loss, _ = policy_loss(before, rollout.senior_logprobs, A, gate)
    rate = run.config.learning_rate
    config = Config(
        group_size=RESPONSES, temperature=temperature, learning_rate=rate, warmup_steps=0
    )
    stats = update(senior, junior, make_optimizer(senior, config), rollout, A, gate, 0, config)
    with torch.no_grad():
        after = response_logprobs(senior, rollout, rollout.mask, temperature)  # (G, T)
    handoff = make_handoff(run.config.schedule, run.tokenizer, senior, run.config)
    return ExplainedStep(
        problem=problem,
        schedule=run.config.schedule,
        rollout=rollout,
        coins=coins(handoff, rollout),
        rewards=rewards,
        A=A,
        before=before,
        junior=of_junior,
        shares=shares,
        after=after,
        loss=float(loss),
        update_loss=stats["loss"],
    )


def first_mixed_group(run, problems: list[Problem], prompts: list[list[int]], seed: int) -> tuple:
    """(problem, its Rollout, rewards (G,)) of the first that isn't all right or all wrong.

    If there is none, of the first problem: its step has no gradient.
    """
    groups = []
    for problem, prompt in zip(problems, prompts, strict=True):
        rollout = write_groups(run.senior, run.junior, [prompt], run.tokenizer, run.config, seed)
        rewards = rewards_of(rollout.texts(run.tokenizer), [problem])  # (G,)
        groups.append((problem, rollout, rewards))
        if 0 < rewards.sum() < RESPONSES:
            return groups[-1]
    return groups[0]


def write_groups(
    senior: GPT, junior: GPT, prompts: list[list[int]], tokenizer, config, seed: int
) -> Rollout:
    """G responses to each prompt, written as a run's training writes them."""
    return generate(
        senior,
        None if config.schedule == "solo" else junior,
        [prompt for prompt in prompts for _ in range(RESPONSES)],
        make_handoff(config.schedule, tokenizer, senior, config),
        end=tokenizer.end,
        pad=tokenizer.pad,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        generator=seeded(seed, "step"),
    )


def rewards_of(texts: list[str], problems: list[Problem]) -> Tensor:
    """The reward of each text. Each problem has G texts.  (N,)"""
    answers = [problem.answer for problem in problems for _ in range(RESPONSES)]
    return torch.tensor(verify_batch(texts, answers)).float()


def coins(handoff: Handoff, rollout: Rollout) -> Tensor:
    """Where a coin fell before a token, or a strict schedule handed over.  (N, T) bool"""
    fell = torch.zeros_like(rollout.mask)  # (N, T)
    fell[:, 0] = handoff.random
    handoff.start(len(fell), seeded("coins"), fell.device)
    tokens = rollout.tokens.unbind(dim=1)  # T of (N,)
    for t, token in enumerate(tokens[:-1], 1):
        handoff.next(token)
        fell[:, t] = handoff.gap == 0
    return fell & rollout.mask


def as_text(step: ExplainedStep, tokenizer, color: bool) -> str:
    """The step for a terminal."""
    lines = []
    for paragraph in introduction(step):
        lines += textwrap.wrap(paragraph, WIDTH)
    lines += [f"Below, {legend(color)}; ¶ is a blank line.", ""]
    for row in range(RESPONSES):
        response = render(step.rollout, row, tokenizer, color)
        response = response.replace("\n\n", " ¶ ").replace("\n", "↵")
        lines.append(f"{row + 1}. {outcome(step, row)}  {response}")
    lines.append("")
    for name, meaning in meanings(step).items():
        lines += textwrap.wrap(f"{name:11} {meaning}", WIDTH, subsequent_indent=" " * 12)
    for row in range(RESPONSES):
        lines += ["", f"response {row + 1}: {outcome(step, row)}"]
        table = [TABLE_HEAD, *token_rows(step, row, tokenizer)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for cells in table:
            padded = [cell.rjust(size) for cell, size in zip(cells, widths, strict=True)]
            lines.append("  ".join(padded))
    lines.append("")
    for paragraph in conclusion(step):
        lines += textwrap.wrap(paragraph, WIDTH)
    return "\n".join(lines)


def as_html(text: str) -> str:
    """The text as a page that loads nothing, with a colour for each author."""
    text = TOKEN_ROW.sub(r'<span class="\1">\g<0></span>', escape(text))
    text = JUNIORS_WORDS.sub(r'<span class="junior">\g<0></span>', text)
    return PAGE.format(text)


def introduction(step: ExplainedStep) -> list[str]:
    """The problem, and how the rewards became advantages."""
    senior = int(step.rollout.authorship.sum())
    total = int(step.rollout.mask.sum())
    question = f"{step.problem.question}  The answer is {step.problem.answer}."
    rule = f"Schedule {step.schedule}. r is 1 if the answer is right, else 0. "
    rule += f"A is r minus the mean reward, {step.rewards.mean():.2f}. "
    rule += f"The senior wrote Σm = {senior} of the {total} tokens."
    return [question, rule]


def meanings(step: ExplainedStep) -> dict[str, str]:
    """Of the columns."""
    coin = "here the author was chosen anew"
    if step.schedule == "word":
        coin += ", by a coin: before the first token, and after each that begins with a space"
    return {"coin": coin} | LEGEND


def conclusion(step: ExplainedStep) -> list[str]:
    """The sum, and the advantages that another verdict would give."""
    sums = f"The shares add up to {step.shares.sum():z.6f}: policy_loss is {step.loss:z.6f}, "
    sums += f"the loss of update {step.update_loss:z.6f}."
    if (step.A == 0).all():
        return [sums, "All rewards are equal, so every A is 0: nothing moves, whatever the style."]
    wrong = int(step.rewards.argmin())
    others = step.rewards.clone()
    others[wrong] = 1
    A = ", ".join(f"{a:+z.2f}" for a in advantages(others, RESPONSES))
    other = f"If response {wrong + 1} were right, the four A would be {A}."
    return [sums, other, "--schedule solo shows plain RL, where the senior writes alone."]


def outcome(step: ExplainedStep, row: int) -> str:
    """right, r = 1, A = +0.25"""
    word = "right" if step.rewards[row] else "wrong"
    return f"{word}, r = {step.rewards[row]:.0f}, A = {step.A[row]:+z.2f}"


def token_rows(step: ExplainedStep, row: int, tokenizer) -> list[list[str]]:
    """The cells of each token of a response, one for each of TABLE_HEAD."""
    names = {i: name for name, i in tokenizer.special.items()}
    rows = []
    for t in range(int(step.rollout.mask[row].sum())):
        token = int(step.rollout.tokens[row, t])
        by_senior = bool(step.rollout.authorship[row, t])
        text = tokenizer.decode([token]).replace("\n\n", "¶").replace("\n", "↵")
        rows.append(
            [
                str(t),
                "coin" if step.coins[row, t] else "",
                "senior" if by_senior else "junior",
                names.get(token, f"'{text}'"),
                f"{step.before[row, t]:z.3f}",
                f"{step.junior[row, t]:z.3f}",
                str(int(by_senior)),
                f"{step.shares[row, t]:+z.5f}" if by_senior else "0",
                f"{step.after[row, t]:z.3f}",
            ]
        )
    return rows


def explain(run, problems: list[Problem], prompts: list[list[int]], options) -> None:
    """The command `python rollout.py [DIR] --explain`."""
    if options.html:
        write_page(Path(options.html), option="--html")
    step = explain_step(run, problems, prompts, options.seed)
    print(as_text(step, run.tokenizer, sys.stdout.isatty()))
    if options.html:
        page = as_html(as_text(step, run.tokenizer, color=False))
        write_page(Path(options.html), page, "--html")
        print(f"page: {options.html}", file=sys.stderr)

"""Add a line about a run as it is now: how the first coin decides, and some responses.

    python -m results.along runs/along results/along.jsonl

results/along.sh calls it at each step that the figures show. The responses are to test problems,
written as training writes them. The random numbers are the same at every step.
"""

import json
from collections import Counter
from dataclasses import dataclass

from data.problems import is_unfamiliar
from reward import verify
from rollout import generate, make_handoff, seeded
from support.reports.display import by_author
from support.runs.options import command, parse
from support.runs.problem_files import load_problems
from support.runs.saved import load_run

COUNTED_PROBLEMS = 128  # 8 responses each are counted
SHOWN_PROBLEMS = 8  # problems, a response each


@dataclass
class Options:
    """The options of `python -m results.along`."""

    run: str
    """directory of the run"""
    out: str
    """file that gets a line more"""


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    run = load_run(options.run)
    context = min(run.senior.config.max_seq_len, run.junior.config.max_seq_len)
    _, problems, _ = load_problems(run.config, run.tokenizer, context, COUNTED_PROBLEMS)
    counts = first_coins(run, problems)
    responses = shown_responses(run, problems[:SHOWN_PROBLEMS])
    line = {"step": run.step, "first_coin": counts, "responses": responses}
    with open(options.out, "a", encoding="utf-8") as file:
        print(json.dumps(line, ensure_ascii=False), file=file)


def write_responses(run, problems: list, purpose: str):
    """A Rollout of these problems, word by word. The random numbers come from the purpose."""
    tokenizer = run.tokenizer
    return generate(
        run.senior,
        run.junior,
        [tokenizer.prompt(problem.question) for problem in problems],
        make_handoff("word", tokenizer, run.senior, run.config),
        end=tokenizer.end,
        pad=tokenizer.pad,
        max_new_tokens=run.config.max_new_tokens,
        temperature=run.config.temperature,
        generator=seeded("along", purpose),
    )


def first_coins(run, problems: list) -> dict[str, list[int]]:
    """[responses, right ones] by the first author, and by whether the senior opens in jargon."""
    problems = problems * 8
    written = write_responses(run, problems, "first coin")
    texts = written.texts(run.tokenizer)
    counts, right = Counter(), Counter()
    for row, problem in enumerate(problems):
        opening, _, _ = texts[row].partition("\n\n")
        name = "junior"
        if written.authorship[row, 0]:
            name = "senior, jargon" if is_unfamiliar(opening, problem.world) else "senior, plain"
        counts[name] += 1
        right[name] += verify(texts[row], problem.answer)
    return {name: [counts[name], right[name]] for name in sorted(counts)}


def shown_responses(run, problems: list) -> list[dict]:
    """A response to each problem in pieces (text, whether the senior wrote it)."""
    written = write_responses(run, problems, "shown")
    found = []
    for row, text in enumerate(written.texts(run.tokenizer)):
        right = verify(text, problems[row].answer)
        pieces = by_author(written, row, run.tokenizer)
        found.append({"answer": problems[row].answer, "right": right, "pieces": pieces})
    return found


if __name__ == "__main__":
    main()

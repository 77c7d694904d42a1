"""Draw the figure of the README's first page.

    python -m results.figure results/jargon.json runs/word --out results/tandem.svg

On its left is handoff during training, on its right a response of the run's pair before and after training.
"""

import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from evaluate import Sampling, answer
from support.reports.display import pieces
from support.reports.figure import draw_line, load_matplotlib, save, shared
from support.reports.results import Run, group_runs, is_plain_rl, look_up, read_results
from support.runs.options import UserError, command, parse
from support.runs.pair import load_run
from support.runs.problem_files import load_problems

COLORS = {
    True: "#c6dcf5",
    False: "#fcd7ab",
}  # behind the text that the senior, or the junior, wrote
TEXT_SIZE = 8.4  # points
COLUMNS, LINES = 73, 19.6  # monospaced characters and lines of this size that fit on the right


@dataclass
class Options:
    """The options of `python -m results.figure`."""

    results: str
    """file that evaluate.py --json printed, of tandem RL and plain RL with --eval-every"""
    run: str
    """directory of the run whose pair writes the response"""
    out: str = "figure.svg"
    """where to draw the figure, a .svg or .png"""
    seed: int = 0
    """seed of the response"""


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    try:
        plt = load_matplotlib()
    except ImportError:
        raise UserError("figures need matplotlib: pip install matplotlib") from None
    figure = plt.figure(figsize=(9.4, 3.7))
    draw_training(
        figure.add_axes((0.06, 0.13, 0.34, 0.75)), group_runs(read_results(Path(options.results)))
    )
    draw_responses(figure.add_axes((0.44, 0.02, 0.55, 0.96)), Path(options.run), options.seed)
    save(figure, options.out)
    print(f"figure: {options.out}")


def draw_training(axis, groups: dict[str, list[Run]]) -> None:
    """Handoff, step by step, at the steps at which the runs were measured."""
    for runs in groups.values():
        line = shared(
            [{m["step"]: look_up(m, "handoff/pass@1") for m in run.along} for run in runs]
        )
        if not line:
            raise UserError(
                f"{runs[0].name} wasn't measured during training; --eval-every in train.py does that"
            )
        color, name = (7, "plain RL") if is_plain_rl(runs) else (0, "tandem RL")  # C7 is grey
        draw_line(axis, color, line, 1.0, name)
    axis.set(title="share that the two solve, taking turns", xlabel="step", ylim=(0, 1.03))
    axis.legend(loc="center right", frameon=False)


def draw_responses(axis, directory: Path, seed: int) -> None:
    """A response to the first test problem before and after training, a line for each step, coloured by author."""
    run = load_run(directory)
    context = min(run.senior.config.max_seq_len, run.junior.config.max_seq_len)
    _, (problem, *_), _ = load_problems(run.config, run.tokenizer, context, 1)
    sampling = replace(Sampling.from_config(run.config), samples=1, seed=seed)
    axis.set(xlim=(0, COLUMNS), ylim=(LINES, 0))
    axis.set_axis_off()
    write(
        axis,
        1.0,
        [(" the senior ", True), (" and ", None), (" the junior ", False), (" wrote", None)],
    )
    for y, text in enumerate(textwrap.wrap(problem.question, COLUMNS), 3):
        write(axis, y, [(text, None)])
    for label, senior in (("before training", run.before), ("after training", run.senior)):
        answers = answer(
            senior, run.junior, run.tokenizer, [problem], "word", sampling, tqdm(disable=True)
        )
        verdict = "right" if answers.right[0] else f"wrong, the answer is {problem.answer}"
        y += 2
        axis.text(0, y, f"{label}: {verdict}", size=TEXT_SIZE + 1, weight="bold")
        for line in layout(pieces(answers.rollout, 0, run.tokenizer)):
            y += 1.25
            write(axis, y, line)


def layout(parts: list[tuple[str, bool]]) -> list[list[tuple[str, bool]]]:
    """The lines that aren't empty, (text, whether the senior wrote it) each. Lines longer than the panel are cut."""
    lines = [[]]
    for text, by_senior in parts:
        first, *others = text.split("\n")
        lines[-1].append((first, by_senior))
        lines += [[(other, by_senior)] for other in others]
    return [line for line in lines if any(text for text, _ in line)]


def write(axis, y: float, parts: list[tuple[str, bool | None]]) -> None:
    """A monospaced line, coloured by author."""
    x = 0
    for text, by_senior in parts:
        if by_senior is not None:
            axis.broken_barh(
                [(x, len(text))], (y - 0.85, 1.2), color=COLORS[by_senior], linewidth=0
            )
        axis.text(x, y, text, size=TEXT_SIZE, family="monospace", parse_math=False)
        x += len(text)


if __name__ == "__main__":
    main()

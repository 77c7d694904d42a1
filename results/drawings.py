"""Draw the two figures of a default run along its steps, from the lines of results/along.py.

    python -m results.drawings results/along.jsonl results

first-coin.svg shows how the first coin decides the reward. responses.svg moves: it shows the same
eight responses at every tenth step, and stands still for people who ask for less motion.
"""

import json
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import groupby
from pathlib import Path

from results.figure import AUTHOR_COLORS
from support.runs.options import command, parse

COIN_STEPS = (0, 10, 25, 50, 100, 250)
BRANCHES = ("junior", "senior, plain", "senior, jargon")  # as along.py names them
WRONG, HALF, RIGHT = (118, 42, 131), (247, 247, 247), (27, 120, 55)  # colours of a share
ADVANCE = 7.8  # pixels of a monospaced character
FIRST, EACH, LAST = 2.5, 0.35, 4.0  # seconds of the first frame, of each, of the last


@dataclass
class Options:
    """The options of `python -m results.drawings`."""

    lines: str
    """file that along.py wrote"""
    directory: str
    """directory of the figures"""


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    text = Path(options.lines).read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    drawn = {"first-coin.svg": first_coin_figure(rows), "responses.svg": moving_responses(rows)}
    for name, figure in drawn.items():
        Path(options.directory, name).write_text(figure, encoding="utf-8")


def svg(width: int, height: int, title: str, style: str, parts: list[str]) -> str:
    """A figure on white."""
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    style = f"<style>text{{font:13px sans-serif;fill:#1b1f24}}.b{{font-weight:bold}}{style}</style>"
    ground = f'<rect width="{width}" height="{height}" rx="6" fill="#fff"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", style, ground, *parts, "</svg>\n"])


def first_coin_figure(rows: list[dict]) -> str:
    """A bar a step. Width: the share of such responses. Colour: the share of them that is right."""
    left, right, top, pitch = 70, 700, 62, 32
    parts = [
        f'<text class="b" x="{left}" y="22">The first coin decides</text>',
        f'<text x="{left}" y="{top - 8}">the junior begins</text>',
        f'<text x="{right}" y="{top - 8}" text-anchor="end">the senior, in jargon</text>',
    ]
    rows = [row for row in rows if row["step"] in COIN_STEPS]
    for i, row in enumerate(rows):
        y = top + i * pitch
        step = row["step"]
        parts.append(f'<text x="{left - 8}" y="{y + 18}" text-anchor="end">step {step}</text>')
        counts = row["first_coin"]
        total = sum(count for count, _ in counts.values())
        x = left
        for branch in BRANCHES:
            count, solved = counts.get(branch, (0, 0))
            width = (right - left) * count / total
            if i == 0 and branch == "senior, plain":
                parts.append(f'<text x="{x:.1f}" y="{top - 8}">the senior, in plain words</text>')
            if count:
                parts.append(box(x, y, width, pitch - 6, solved / count))
            x += width
    y = top + len(rows) * pitch + 6
    parts.append(f'<text x="{left}" y="{y + 14}">width: share of the responses</text>')
    parts.append(f'<text x="{right - 330}" y="{y + 14}">colour: share right</text>')
    for i in range(5):
        parts.append(box(right - 200 + i * 40, y, 40, 20, i / 4))
    title = "The first author decides: shares of responses, and how many are right, by step"
    return svg(720, y + 32, title, ".in{font-size:12px;text-anchor:middle}", parts)


def box(x: float, y: float, width: float, height: float, share: float) -> str:
    """A part of a bar, with its share right in it where there is room."""
    end = RIGHT if share > 0.5 else WRONG
    much = abs(2 * share - 1)
    red, green, blue = [round(h + (e - h) * much) for h, e in zip(HALF, end, strict=True)]
    fill = f"rgb({red},{green},{blue})"
    place = f'x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}"'
    drawn = f'<rect {place} fill="{fill}" stroke="#fff"/>'
    if width < 30:
        return drawn
    ink = "#fff" if much > 0.55 else "#1b1f24"
    middle = f'x="{x + width / 2:.1f}" y="{y + height / 2 + 4.5:.1f}"'
    return f'{drawn}<text class="in" {middle} style="fill:{ink}">{share:.2f}</text>'


def moving_responses(rows: list[dict]) -> str:
    """The responses of each tenth step, one step after the other, again and again."""
    rows = [row for row in rows if row["step"] % 10 == 0]
    starts = [0.0]
    for i in range(len(rows)):
        starts.append(starts[-1] + (FIRST if i == 0 else EACH))
    starts[-1] += LAST - EACH
    frames = Frames(starts)

    parts = ['<text class="b" x="20" y="26">The same eight responses during training</text>']
    parts.append('<text x="330" y="26">written by</text>')
    for x, name, by_senior in ((400, "senior", True), (458, "junior", False)):
        fill = AUTHOR_COLORS[by_senior]
        parts.append(f'<rect x="{x - 4}" y="12" width="52" height="19" fill="{fill}"/>')
        parts.append(f'<text x="{x}" y="26">{name}</text>')
    labels = []
    for row in rows:
        right = [response["right"] for response in row["responses"]]
        labels.append(f"step {row['step']}: {sum(right)} of {len(right)} right")
    parts += frames.show(labels, frame_label)
    for place in range(len(rows[0]["responses"])):
        responses = [row["responses"][place] for row in rows]
        parts += frames.show(responses, partial(response_line, 58 + 24 * place))
    height = 58 + 24 * len(rows[0]["responses"])
    title = "The same eight responses during training: the senior gives up its jargon"
    return svg(660, height, title, frames.style(), parts)


def frame_label(text: str) -> str:
    return f'<text x="640" y="26" text-anchor="end">{text}</text>'


class Frames:
    """Shows each thing in the frames that have it. Without motion, the last frame stands."""

    def __init__(self, starts: list[float]):
        self.starts = starts  # seconds of each frame, and of the end
        self.spans = {}  # the number of each span of frames

    def show(self, things: list, draw) -> list[str]:
        """draw(thing) for each run of equal things, a thing a frame."""
        parts = []
        for thing, places in groupby(range(len(things)), key=things.__getitem__):
            places = list(places)
            span = (places[0], places[-1] + 1)
            if span == (0, len(things)):
                parts.append(draw(thing))
                continue
            number = self.spans.setdefault(span, len(self.spans))
            still = "" if span[1] == len(things) else " gone"
            parts.append(f'<g class="f{number}{still}">{draw(thing)}</g>')
        return parts

    def style(self) -> str:
        """CSS."""
        total = self.starts[-1]
        rules = []
        for (first, end), number in self.spans.items():
            since = 100 * self.starts[first] / total
            until = 100 * self.starts[end] / total
            stops = "0%{visibility:hidden}" if first else ""
            stops += f"{since:.2f}%{{visibility:visible}}"
            if until < 100:
                stops += f"{until:.2f}%{{visibility:hidden}}"
            rules.append(f"@keyframes k{number}{{{stops}}}")
            rules.append(f".f{number}{{animation:k{number} {total:.2f}s step-end infinite}}")
        rules = ["@media (prefers-reduced-motion:no-preference){", *rules, "}"]
        return "\n".join([".gone{visibility:hidden}", *rules])


def response_line(y: int, response: dict) -> str:
    """A response in a line, each piece on its author's colour, and its verdict."""
    mark, color = ("✓", "#116329") if response["right"] else ("✗", "#a40e26")
    parts = [f'<text x="20" y="{y}" style="fill:{color};font-weight:bold">{mark}</text>']
    x = 40.0
    for text, by_senior in response["pieces"]:
        text = text.replace("\n\n", " ¶ ").replace("\n", "↵")
        width = ADVANCE * len(text)
        fill = AUTHOR_COLORS[by_senior]
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 14}" width="{width:.1f}" height="19" fill="{fill}"/>'
        )
        if text.strip():
            size = f'textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"'
            style = 'xml:space="preserve" style="font-family:monospace"'
            parts.append(f'<text x="{x:.1f}" y="{y}" {size} {style}>{escape(text)}</text>')
        x += width
    return "".join(parts)


if __name__ == "__main__":
    main()

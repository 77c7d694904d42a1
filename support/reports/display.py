"""Responses as text, with a mark or a colour for each author."""

import re
from itertools import groupby

from data.tokenizer import Tokenizer
from evaluate import Answers
from rollout import Rollout

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but for the tab and the line break


def by_author(rollout: Rollout, row: int, tokenizer) -> list[tuple[str, bool]]:
    """A response cut where its author changes: (text, whether the senior wrote it)."""
    mask = rollout.mask[row]  # (T,)
    tokens = rollout.tokens[row][mask].tolist()
    authors = rollout.authorship[row][mask].tolist()
    parts = []
    for author, places in groupby(range(len(tokens)), key=authors.__getitem__):
        ids = [tokens[t] for t in places]
        text = printable(tokenizer.decode(ids))
        if text:  # an end token alone has none
            parts.append((text, author))
    return parts


def printable(text: str) -> str:
    r"""A model's text for a terminal: control characters, which might steer it, as \x1b."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def author_styles(color: bool) -> tuple[str, str]:
    """Formats of the senior's words and of the partner's."""
    if color:
        return "\x1b[36m{}\x1b[0m", "\x1b[33m{}\x1b[0m"
    return "{}", "⟦{}⟧"


def render(rollout: Rollout, row: int, tokenizer, color: bool) -> str:
    """A response in colours for a terminal, or with the junior's words in ⟦brackets⟧."""
    senior_style, junior_style = author_styles(color)
    styled = ""
    for text, by_senior in by_author(rollout, row, tokenizer):
        style = senior_style if by_senior else junior_style
        styled += style.format(text)
    return styled


def legend(color: bool) -> str:
    """How `render` shows the authors."""
    return "senior in cyan, junior in yellow" if color else "the junior's words are in ⟦brackets⟧"


def show_answers(answers: dict[str, Answers], tokenizer: Tokenizer, color: bool) -> str:
    """A right and a wrong response of the senior alone, and of the two turn by turn."""
    lines = []
    for name in ("solo", "handoff"):
        some = answers[name]
        for verdict in (True, False):
            if verdict not in some.right:
                continue
            row = some.right.index(verdict)
            problem = some.problems[row]
            text = render(some.rollout, row, tokenizer, color).replace("\n\n", " ¶ ")
            said = "right" if verdict else f"wrong, the answer is {problem.answer}"
            lines.append(f"  {name}, {said}\n    {problem.question}\n    {text}")
    return "\n".join(lines)

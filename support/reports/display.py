"""How responses are shown: each in the pieces of its authors."""

from itertools import groupby

from data.tokenizer import Tokenizer
from evaluate import Answers
from rollout import Rollout


def pieces(rollout: Rollout, row: int, tokenizer) -> list[tuple[str, bool]]:
    """A response cut where its author changes: (text, whether the senior wrote it)."""
    mask = rollout.mask[row]  # (T,)
    tokens, authors = rollout.tokens[row][mask].tolist(), rollout.authorship[row][mask].tolist()
    found = []
    for author, part in groupby(range(len(tokens)), key=authors.__getitem__):
        text = tokenizer.decode([tokens[t] for t in part])
        if text:  # an end token alone has none
            found.append((text, author))
    return found


def author_styles(color: bool) -> tuple[str, str]:
    """How the senior's words are shown, and the partner's."""
    return ("\x1b[36m{}\x1b[0m", "\x1b[33m{}\x1b[0m") if color else ("{}", "⟦{}⟧")


def render(rollout: Rollout, row: int, tokenizer, color: bool) -> str:
    """A response with its authors: colours for a terminal, else the junior's words in ⟦brackets⟧."""
    senior_style, junior_style = author_styles(color)
    styled = ""
    for text, by_senior in pieces(rollout, row, tokenizer):
        styled += (senior_style if by_senior else junior_style).format(text)
    return styled


def legend(color: bool) -> str:
    """How `render` shows the authors."""
    return "senior in cyan, junior in yellow" if color else "the junior's words are in ⟦brackets⟧"


def show_answers(answers: dict[str, Answers], tokenizer: Tokenizer, color: bool) -> str:
    """A right and a wrong response, where there are such: the senior's alone, and of the two turn by turn."""
    lines = []
    for name in ("solo", "handoff"):
        some = answers[name]
        for verdict in (True, False):
            if verdict in some.right:
                row = some.right.index(verdict)
                text = render(some.rollout, row, tokenizer, color).replace("\n\n", " ¶ ")
                said = "right" if verdict else f"wrong, the answer is {some.problems[row].answer}"
                lines.append(f"  {name}, {said}\n    {some.problems[row].question}\n    {text}")
    return "\n".join(lines)

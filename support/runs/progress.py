"""Progress bars in a terminal. In a log, a line every ten seconds, and one at the end."""

import sys

from tqdm import tqdm

SECONDS = 10  # from one line of a log to the next
UP = "\x1b[A"  # tqdm moves the cursor up from a bar below another


class LogLines:
    """What tqdm writes as one line that it writes over, as lines."""

    def __init__(self, stream):
        self.stream = stream
        self.last = ""

    def write(self, text: str) -> None:
        text = text.replace(UP, "").strip()
        if text not in ("", self.last):
            self.stream.write(text + "\n")
            self.last = text

    def flush(self) -> None:
        self.stream.flush()


def progress(*arguments, **options) -> tqdm:
    """A tqdm with these arguments, on stderr."""
    if sys.stderr.isatty():
        return tqdm(*arguments, **options)
    options["file"] = LogLines(sys.stderr)
    options["mininterval"] = SECONDS
    options["delay"] = 1e-9  # no line at the beginning
    return tqdm(*arguments, **options)

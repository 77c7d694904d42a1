"""Progress bars: drawn in a terminal, lines in a log."""

import io
import os
import pty
import subprocess
import sys
import termios
from contextlib import redirect_stderr

from support.runs.progress import progress

COUNT = "from support.runs.progress import progress; list(progress(range(500), 'counting'))"


def test_a_log_gets_a_line_at_the_end_and_no_carriage_return():
    with redirect_stderr(io.StringIO()) as log:
        list(progress(range(500), "counting"))
    (line,) = log.getvalue().splitlines()
    assert line.startswith("counting: 100%") and "500/500" in line
    assert "\r" not in log.getvalue()


def test_a_log_gets_a_line_every_ten_seconds():
    with redirect_stderr(io.StringIO()) as log:
        bar = progress(total=65, desc="counting")
        seconds = 0
        bar._time = lambda: seconds
        bar.start_t = bar.last_print_t = 0
        for seconds in range(1, 66):
            bar.update()
            bar.set_postfix(reward=seconds, refresh=False)
        bar.close()
    counts = [line.split("|")[2].split("/")[0].strip() for line in log.getvalue().splitlines()]
    assert counts == ["10", "20", "30", "40", "50", "60", "65"]


def test_a_bar_that_leaves_no_trace_leaves_none_in_a_log():
    with redirect_stderr(io.StringIO()) as log:
        list(progress(range(500), leave=False))
    assert log.getvalue() == ""


def test_a_bar_below_another_moves_no_cursor_in_a_log():
    with redirect_stderr(io.StringIO()) as log:
        for _ in progress(range(2), "outer"):
            list(progress(range(3), "inner", leave=False))
            list(progress(range(3), "kept"))
    lines = log.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["kept", "kept", "outer"]


def test_a_terminal_gets_a_bar_on_one_line():
    here, there = pty.openpty()
    termios.tcsetwinsize(there, (24, 80))
    subprocess.run([sys.executable, "-c", COUNT], stderr=there, check=True)
    os.close(there)
    shown = ""
    try:
        while text := os.read(here, 1000):
            shown += text.decode()
    except OSError:  # the other end is closed
        pass
    os.close(here)
    begin, end, *rest = shown.split("\rcounting: ")[1:]
    assert begin.lstrip().startswith("0%") and end.startswith("100%") and not rest
    assert shown.count("\n") == 1

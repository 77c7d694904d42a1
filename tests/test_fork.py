"""A fork adds options and a schedule: whatever else there is goes on, for its runs and for older.

The fork is a copy of the code. A process of its own runs its commands, one after the other.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_train import SMALL, main

ROOT = Path(__file__).parent.parent

# All that a fork writes: in train.py the fields, in tandem.py the schedule and its setting.
FIELDS = '''    "method"

    sharpness: Count = 3
    """an option that changes results"""
    colour: NoEffect[Literal["red", "blue"]] = "red"
    """an option that doesn't"""
    p_last: WithSteps[Probability | None] = None
    """p_senior of the last step"""
    max_entropy: NotNegative = 0.5
    """nats of the junior's distribution above which the senior writes (unsure)"""
'''
SCHEDULE = '"solo", "unsure"]'
SETTING = "        chunk: int = 16,\n        max_entropy: float = 0.5,\n"
KEPT = "        self.chunk = chunk\n        self.max_entropy = max_entropy\n"
CASE = """            case "unsure":
                entropy = torch.special.entr(logprobs[1].exp()).sum(dim=-1)  # (B,)
                triggered = self.author != (entropy > self.max_entropy)
            case "solo":
"""

SCRIPT = """
import contextlib, io, json, sys

import rollout
import support.reports.compare
import support.reports.show
import train

support.reports.compare.draw_comparison = lambda *_: None
mains = {
    "train": train.main,
    "evaluate": support.reports.compare.main,
    "rollout": support.reports.show.main,
}
settings = []
make_handoff = rollout.make_handoff


def recorded(schedule, *rest):
    handoff = make_handoff(schedule, *rest)
    settings.append([schedule, handoff.max_entropy])
    return handoff


rollout.make_handoff = train.make_handoff = recorded
for line in sys.argv[1:]:
    command, *words = line.split()
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    error = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    code = 0
    settings.clear()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            mains[command](words)
        except SystemExit as end:
            code = end.code
    result = {"code": code, "asked": settings}
    for name, stream in (("out", out), ("error", error)):
        stream.flush()
        result[name] = stream.buffer.getvalue().decode()
    sys.__stdout__.write(json.dumps(result) + "\\n")
"""


def edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def fork(tmp_path_factory) -> Path:
    """A copy of the code with the additions, beside a run of the code as it was."""
    base = tmp_path_factory.mktemp("fork")
    for path in ROOT.glob("*.py"):
        shutil.copy(path, base)
    for folder in ("data", "support"):
        shutil.copytree(ROOT / folder, base / folder)
    edit(
        base / "train.py",
        ('    "method"\n\n', FIELDS),
        ("    Whole,\n", "    Whole,\n    WithSteps,\n"),
    )
    edit(
        base / "tandem.py",
        ('"solo"]', SCHEDULE),
        ("        chunk: int = 16,\n", SETTING),
        ("        self.chunk = chunk\n", KEPT),
        ('            case "solo":\n', CASE),
    )
    assert main(*SMALL, "--out", base / "word-0") == 0
    (base / "script.py").write_text(SCRIPT)
    return base


def commands(fork: Path, *lines: str) -> list[dict]:
    """The exit code, the output, the errors and the schedules asked for, of each."""
    small = " ".join(SMALL)
    words = [line.replace("SMALL", small) for line in lines]
    done = subprocess.run(
        [sys.executable, "script.py", *words],
        cwd=fork,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_option_is_a_field_and_nothing_else(fork):
    shown, wrong, *runs = commands(
        fork,
        "train --help",
        "train --sharpness 0",
        "train SMALL --seed 1 --out word-1",
        "train SMALL --seed 2 --colour blue --out word-2",
        "train SMALL --seed 0 --sharpness 4 --out sharp-0",
        "evaluate word-0 word-1 word-2 sharp-0",
        "rollout word-0 --samples 1",
        "train --resume word-0 --sharpness 4",
        "train --resume word-0 --sharpness 3 --colour blue --steps 3",
        "evaluate word-0 --samples 2",
    )
    help_text = " ".join(shown["out"].split())
    assert "--sharpness INT an option that changes results (default 3)" in help_text
    assert wrong["code"] == 2
    assert "--sharpness is 0; it must be a number from 1" in wrong["error"]
    first, second, third, table, responses, refused, resumed, measured = runs
    assert [run["code"] for run in (first, second, third)] == [0, 0, 0]

    # The older run, which lacks the options, is of the same group.
    head = [cell.strip() for cell in table["out"].splitlines()[0].split("|")[2:-1]]
    assert head == ["before", "word (n=3)", "sharp (n=1)"]

    # It can be shown, resumed and measured again.
    assert responses["code"] == 0
    assert responses["out"].count("→ ") == 1
    assert refused["code"] == 2
    assert "--sharpness 4 contradicts 3" in refused["error"]
    assert resumed["code"] == 0
    assert json.loads((fork / "word-0" / "config.json").read_text())["colour"] == "blue"
    assert measured["code"] == 0


def test_an_option_that_depends_on_steps_keeps_a_run_from_growing(fork):
    begun, refused, longer, alike = commands(
        fork,
        "train SMALL --p-last 0.3 --out annealed",
        "train --resume annealed --steps 5",
        "train --resume annealed --steps 2",
        "train --like annealed --steps 1 --seed 1 --out annealed-1",
    )
    assert begun["code"] == 0
    assert refused["code"] == 2
    assert "--steps 2 can't change: --p-last 0.3 in annealed/config.json" in refused["error"]
    assert longer["code"] == 0
    assert alike["code"] == 0
    config = json.loads((fork / "annealed-1" / "config.json").read_text())
    assert (config["p_last"], config["steps"], config["seed"]) == (0.3, 1, 1)


def test_a_schedule_by_the_models_distributions_is_a_case(fork):
    begun, shown, older, resumed = commands(
        fork,
        "train SMALL --schedule unsure --max-entropy 0.1 --out unsure",
        "rollout unsure --schedule unsure --samples 1",
        "rollout word-0 --schedule unsure --samples 1",
        "train --resume unsure --steps 3",
    )
    for done in (begun, shown, older, resumed):
        assert done["code"] == 0, done["error"]
    assert ["unsure", 0.1] in begun["asked"]
    assert shown["asked"] == [["unsure", 0.1]]
    assert older["asked"] == [["unsure", 0.5]]  # the default, of a run that lacks the option
    lines = (fork / "unsure" / "metrics.jsonl").read_text().splitlines()
    shares = [json.loads(line)["senior_fraction"] for line in lines]
    assert len(shares) == 3
    assert all(0 < share < 1 for share in shares)

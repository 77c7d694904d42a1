"""Write the tables of README.md and results/README.md again, from the JSON files here.

python -m results.tables            # between the markers <!-- table: NAME --> and <!-- end -->
python -m results.tables --check    # changes nothing; fails where a page is out of date
"""

import json
import math
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from results import slips
from support.people import score
from support.reports.benchmark import speed_unit
from support.reports.compare import difference_table, results_table
from support.reports.measures import RUN_MEASURES, STUDENT_T, cells, interval, look_up
from support.reports.results import RunResults, group_runs, read_results
from support.runs.files import read_json
from support.runs.options import UserError, command, parse

FOLDER = Path(__file__).parent
PAGES = (FOLDER.parent / "README.md", FOLDER / "README.md")
BETWEEN_MARKERS = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
MEASURED = [path for _, path, _ in RUN_MEASURES]
SOLO, HANDOFF, HANDOFF_WORD, KL, ACCEPTANCE, CROSS_ENTROPY, JARGON_RATE, LENGTH = MEASURED
IN_HEAD = {  # of a table with a row an arm
    SOLO: "solo ↑",
    HANDOFF: "handoff, steps ↑",
    HANDOFF_WORD: "words ↑",
    KL: "KL ↓",
    CROSS_ENTROPY: "cross-entropy ↓",
    JARGON_RATE: "jargon rate",
    LENGTH: "length",
}
OTHER_ARMS = {  # in slips
    "step": "tandem RL, `--schedule step`",
    "grpo": "tandem RL, `--loss grpo`",
    "g16": "plain RL, `--group-size 16`",
    "kl-0.1": "plain RL, `--kl-coef 0.1`",
}
TRIED_SENIORS = {  # by directory: shares of slips and of right steps that it was taught to check
    "short": ("0.5, 0.3", "700"),
    "seldom": ("0.5, 0.1", "2,000"),
    "half": ("0.25, 0.1", "2,000"),
    "shipped": ("0.5, 0.3", "2,000"),
}
# Shares of slips that a senior was taught to put right; the shipped one was taught the last.
PREDICTED_SHARES = ("0", "0.1", "0.25", "0.5")
# Whether a KL penalty does the same as tandem RL: words of the table `what-holds`
ONE_SEED = "about the same, by one seed"
THREE_SEEDS = "**no**: one penalty, three seeds"
BEST_OF_THREE = "**no**: the best of three penalties, five seeds"
NO_GAIN = "there is no gain"
TWICE = "yes, as does twice the learning rate: one seed each"
SHOWN_ABLATIONS = (  # the others don't differ visibly
    "word",
    "solo",
    "chunk",
    "word --junior-weight 0.5",
    "word --junior-weight 1",
    "word --learning-rate 5e-05",
    "word --learning-rate 0.0008",
    "word --junior runs/weaker.pt",
    "word --junior runs/stronger.pt",
    "solo --kl-coef 0.001",
    "solo --kl-coef 0.1 --kl-estimator k3",
    "solo --kl-coef 1 --kl-estimator k3",
    "solo --group-size 16",
)

GPU_ROWS = {  # of a part's numbers, with a label each
    "default_run": {
        "wall_seconds": "the default run, s",
        "seconds_rollout": "a step's rollout, s",
        "seconds_reward": "its reward, s",
        "seconds_update": "its update, s",
        "tokens_per_second": "new tokens a second of a step",
    },
    "benchmark": {
        "solo_tokens_per_second": "`--benchmark`: new tokens a second, solo",
        "tandem_tokens_per_second": "the same, tandem",
        "update_mfu": "its update, of the rate of a matrix product",
    },
    "smollm2": {
        "solo_step_seconds": "SmolLM2-135M, 16 × 8 responses of 256 tokens: a solo step, s",
        "tandem_step_seconds": "a tandem step, s",
        "tandem_rollout_seconds": "its rollout, s",
        "tandem_rollout_peak_gb": "its rollout, GB at the peak",
        "tandem_rollout_computed_gb": "the same, computed",
        "tandem_update_peak_gb": "its update, GB at the peak",
        "tandem_update_computed_gb": "the same, computed",
    },
    "launches": {
        "solo_launches_a_step": "a solo decode step of that shape, launches",
        "tandem_launches_a_step": "a tandem one, launches",
        "tandem_gpu_milliseconds_a_step": "the same, ms of work on the GPU",
        "tandem_host_waits_of_64_tokens": "host waits of a tandem rollout of 64 tokens",
    },
    "graphs": {
        "without_over_with_time": "a tandem rollout's time without CUDA graphs, over with",
        "equal_tokens_share": "share of tokens that are equal",
    },
    "rows": {
        f"tokens_per_second_rows_{n}": f"new tokens a second, tandem, {n} rows"
        for n in (8, 32, 128, 512)
    },
    "attention": {
        "first_rollout_seconds_without_cudnn": "a tandem rollout of 64 tokens, s",
        "first_rollout_seconds_with_cudnn": "with cuDNN's attention",
        "second_rollout_seconds_with_cudnn": "the same again",
    },
    "processes": {
        "said": "`torchrun --nproc_per_node=2`",
        "seconds_update": "an update by two processes, s",
    },
}


@dataclass
class Options:
    check: bool = False
    """change nothing; fail where a page differs from its data"""


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        made = filled(text)
        if made == text:
            continue
        if options.check:
            raise UserError(f"{page} is out of date; run python -m results.tables")
        page.write_text(made, encoding="utf-8")
        print(f"tables: {page}")


def filled(text: str) -> str:
    """The page with all of its tables made again."""

    def fill(marked: re.Match) -> str:
        begin, name, end = marked.groups()
        if name not in TABLES:
            raise UserError(f"no table has the name {name}; choose from {', '.join(TABLES)}")
        return f"{begin}{TABLES[name]()}\n{end}"

    return BETWEEN_MARKERS.sub(fill, text)


# The data: a file's runs in groups, and numbers of a group


def groups_of(name: str, *shown: str) -> dict[str, list[RunResults]]:
    """The runs in NAME.json, in groups of seeds: all of them, or those shown."""
    groups = group_runs(read_results(FOLDER / f"{name}.json"))
    return {arm: groups[arm] for arm in shown or groups}


def mean_of_runs(runs: list[RunResults], measure: str) -> float:
    """Their mean after training."""
    return statistics.fmean(look_up(run.after, measure) for run in runs)


def after_training(runs: list[RunResults]) -> list[str]:
    """The cells of a group's column, a measure each."""
    return cells([run.after for run in runs])


def paired_interval(runs: list[RunResults], others: list[RunResults], measure: str) -> tuple:
    """(mean, low, high) of runs minus others, paired by seed."""
    by_seed = {run.seed: run for run in others}
    differences = []
    for run in runs:
        if run.seed in by_seed:
            theirs = look_up(by_seed[run.seed].after, measure)
            differences.append(look_up(run.after, measure) - theirs)
    return interval(differences)


def strongest_penalty() -> float:
    """The best handoff of a KL penalty where closeness isn't enough."""
    groups = groups_of("closeness")
    penalties = [name for name in groups if name.startswith("kl-")]
    return max(mean_of_runs(groups[name], HANDOFF) for name in penalties)


# Tables in Markdown


def rows_to_markdown(head: list[str], rows: list[list[str]], words: tuple = (0,)) -> str:
    """A table. Columns of words are aligned to the left, columns of numbers to the right."""
    rule = ["---" if i in words else "---:" for i in range(len(head))]
    lines = [f"| {' | '.join(row)} |" for row in [head, rule, *rows]]
    return "\n".join(lines).replace("|  |", "| |")


def compact(table: str) -> str:
    """A padded table without its padding, and without the line that says how to read it."""
    head, rule, *rows = [line for line in table.splitlines() if line.startswith("|")]
    rule = re.sub("-+", "---", rule)
    return re.sub(" +", " ", "\n".join([head, rule, *rows]))


def three_digits(numbers: list[float]) -> list[str]:
    return [f"{number:.3f}" for number in numbers]


def arms(name: str, *shown: str) -> str:
    """The measures of a file's groups, or of those shown, side by side."""
    return compact(results_table(groups_of(name, *shown)))


def minus_plain_rl(name: str, *shown: str) -> str:
    return compact(difference_table(groups_of(name, *shown), None))


def four_findings(name: str) -> str:
    """The first page's tables: the pair before training, and both arms."""
    groups = groups_of(name)
    plain = groups["solo"]
    tandem = groups["word"]
    labels = {
        "senior alone (solo)": SOLO,
        "the two, taking turns (handoff)": HANDOFF,
        "KL to the junior, nats a token": KL,
        "junior's cross-entropy, nats a token": CROSS_ENTROPY,
    }
    rows = []
    for label, measure in labels.items():
        before = look_up(plain[0].before, measure)
        after = [mean_of_runs(runs, measure) for runs in (plain, tandem)]
        rows.append([label, *three_digits([before, *after])])
    return rows_to_markdown(["", "before", "plain RL", "tandem RL"], rows)


def what_holds() -> str:
    """One row a setting. A change is bold if the interval of its difference excludes 0."""
    closest = f"**no**: at most {strongest_penalty():.3f} with one of seven"
    settings = (  # name, file, groups of plain RL and of tandem RL, whether a penalty does the same
        ("`jargon`", "jargon", "solo", "word", "yes, by two seeds"),
        ("`work`", "work", "work-solo", "work-word", TWICE),
        ("`jargon`, a junior that imitates it wrongly", "closeness", "solo", "word", closest),
        ("SmolLM2, `jargon`", "smollm2-jargon", "jargon-solo", "jargon-word", ONE_SEED),
        ("SmolLM2, `mirrored`", "smollm2-mirrored", "mirrored-solo", "mirrored-word", ONE_SEED),
        ("`phrasings`, own copy, strict turns", "phrasings", "ph-solo", "ph-step", THREE_SEEDS),
        ("`phrasings`, own copy, word by word", "phrasings", "ph-solo", "ph-word", NO_GAIN),
        ("`slips`, own copy, word by word", "slips", "solo", "word", BEST_OF_THREE),
        ("SmolLM2, own copy, one seed", "smollm2-self", "self-solo", "self-word", "not tried"),
        ("the same in `slips`", "smollm2-slips", "smollm2-solo", "smollm2-word", "not tried"),
    )
    rows = []
    for setting, name, control, arm, penalty in settings:
        groups = groups_of(name)
        handoff = change(groups[control], groups[arm], HANDOFF)
        solo = change(groups[control], groups[arm], SOLO)
        rows.append([setting, handoff, solo, penalty])
    head = ["setting", "handoff, plain → tandem RL", "solo, plain → tandem RL"]
    head.append("does a KL penalty do the same?")
    return rows_to_markdown(head, rows, words=(0, 1, 2, 3))


def change(plain: list[RunResults], tandem: list[RunResults], measure: str) -> str:
    before = f"{mean_of_runs(plain, measure):.3f}"
    after = f"{mean_of_runs(tandem, measure):.3f}"
    _, low, high = paired_interval(tandem, plain, measure)
    if low > 0 or high < 0:  # False if there are too few seeds for an interval
        after = f"**{after}**"
    return f"{before} → {after}"


def prediction() -> str:
    """Five default runs on the 100 problems of one, and the interval of a sixth."""
    tandem, _ = groups_of("jargon").values()
    rows = []
    for label, path, upper in RUN_MEASURES[:6]:
        last = [run.along[-1] for run in tandem]
        seeds = [look_up(measured, path) for measured in last]
        n = len(seeds)
        error = statistics.stdev(seeds) * math.sqrt(1 + 1 / n)  # of one more seed
        half = STUDENT_T[n - 2] * error
        low = max(statistics.fmean(seeds) - half, 0)
        high = min(statistics.fmean(seeds) + half, upper)
        lowest, highest = three_digits([min(seeds), max(seeds)])
        rows.append([label, lowest, highest, f"[{low:.3f}, {high:.3f}]"])
    return rows_to_markdown(["", "lowest", "highest", "prediction"], rows)


def slips_right() -> str:
    """The share of slips that the senior puts right at its turn, by step of training."""
    counts = slips.read_counts(FOLDER / "slips-right.json")
    return slips.shares_table(counts, every=50)


def slips_arms() -> str:
    """A row an arm: tandem RL and plain RL, and other forms of both."""
    arms = {
        "tandem RL": groups_of("slips", "word")["word"],
        "plain RL": groups_of("slips", "solo")["solo"],
    }
    for name, runs in groups_of("slips-arms").items():
        arms[OTHER_ARMS[name]] = runs
    return arms_in_rows(arms, (SOLO, HANDOFF, HANDOFF_WORD, KL, CROSS_ENTROPY, LENGTH))


def slips_trials() -> str:
    """Trials of the world: shares of checks that the senior was taught, and room for them."""
    measures = (SOLO, HANDOFF, HANDOFF_WORD, KL, LENGTH)
    rows = []
    for run in read_results(FOLDER / "slips-trials.json"):
        checks, supervised = TRIED_SENIORS[Path(run.config["senior"]).parent.name]
        room = str(run.config["max_new_tokens"])
        options = [checks, supervised, room, str(run.config["steps"]), run.config["schedule"]]
        rows.append([*options, *row_of([run], measures)])
    head = ["checks of slips, of right steps", "supervised steps", "tokens", "RL steps", "arm"]
    head += [IN_HEAD[measure] for measure in measures]
    return rows_to_markdown(head, rows, words=(0, 4))


def slips_prediction() -> str:
    """What tandem RL gains, by the share of slips that the senior was taught to put right."""
    rows = []
    for share in PREDICTED_SHARES:
        if share == PREDICTED_SHARES[-1]:
            groups = groups_of("slips", "solo", "word")
        else:
            both = [f"predict-{share}-{arm}" for arm in ("solo", "word")]
            groups = groups_of("slips-prediction", *both)
        plain, tandem = groups.values()
        row = [share, *three_digits([look_up(plain[0].before, SOLO)])]
        for measure in (HANDOFF, SOLO):
            row += three_digits([mean_of_runs(plain, measure), mean_of_runs(tandem, measure)])
            row.append(score.cell(paired_interval(tandem, plain, measure), "+.3f"))
        rows.append(row)
    head = ["slips that it was taught to put right", "solo before"]
    for measure in ("handoff", "solo"):
        head += [f"{measure}, plain RL", "tandem RL", "difference"]
    return rows_to_markdown(head, rows)


def closeness() -> str:
    """A row a group, the KL penalties between plain RL and tandem RL."""
    tandem, plain, *penalties = groups_of("closeness").values()
    arms = {"plain RL": plain}
    for runs in penalties:
        label = f"KL penalty {runs[0].config['kl_coef']:g}"
        if len(runs) == 1:
            label += ", one seed"
        arms[label] = runs
    arms["tandem RL"] = tandem
    return arms_in_rows(arms, (SOLO, HANDOFF, HANDOFF_WORD, KL, JARGON_RATE))


def arms_in_rows(arms: dict[str, list[RunResults]], measures: tuple[str, ...]) -> str:
    """A row before training, and one an arm."""
    first = next(iter(arms.values()))
    before = dict(zip(MEASURED, cells([first[0].before]), strict=True))
    rows = [["before", *(before[measure] for measure in measures)]]
    for label, runs in arms.items():
        rows.append([label, *row_of(runs, measures)])
    return rows_to_markdown(["", *(IN_HEAD[measure] for measure in measures)], rows)


def row_of(runs: list[RunResults], measures: tuple[str, ...]) -> list[str]:
    """The cells of some measures after training."""
    after = dict(zip(MEASURED, after_training(runs), strict=True))
    return [after[measure] for measure in measures]


def ablations() -> str:
    groups = groups_of("ablations")
    rows = [["train.py", *(label for label, *_ in RUN_MEASURES)]]
    for name in SHOWN_ABLATIONS:
        label = f"{name} (n={len(groups[name])})"
        rows.append([label, *after_training(groups[name])])
    head, *rows = [row[:3] + row[4:5] + row[7:8] for row in rows]  # solo, handoff, KL, jargon
    return rows_to_markdown(head, rows)


def search() -> str:
    """Every run of the search, on validation problems."""
    rows = []
    for world in ("jargon", "work", "phrasings", "slips"):
        for run in read_results(FOLDER / f"{world}-search.json"):
            config = run.config
            arm = config["schedule"]
            if config["kl_coef"]:
                arm += f", KL penalty {config['kl_coef']:g}"
            batch = f"{config['prompts_per_step']} × {config['group_size']}"
            options = [world, f"{config['learning_rate']:g}", batch, str(config["steps"]), arm]
            rows.append([*options, *after_training([run])[:6]])
    head = ["world", "learning rate", "batch", "steps", "arm", "solo ↑", "handoff, steps ↑"]
    head += ["words ↑", "KL ↓", "acceptance ↑", "cross-entropy ↓"]
    return rows_to_markdown(head, rows, words=(0, 4))


def study_with_a_machine() -> str:
    """The study's table, from every answer of the machine."""
    study = json.loads((FOLDER / "people.json").read_text(encoding="utf-8"))
    asked = (
        ("take-over: right answers ↑", "take-over", "accuracy"),
        ("check: right verdicts ↑", "check", "accuracy"),
        ("rate: how easy to follow, 1 to 5 ↑", "rate", "rating"),
    )
    rows = []
    for label, task, measure in asked:
        answered = [answer for answer in study["answers"] if answer["task"] == task]
        row = [label]
        for arm in ("before", "solo", "word"):
            of_arm = [answer for answer in answered if answer["arm"] == arm]
            estimate = score.measured(of_arm, measure)
            row.append(score.cell(estimate, ".3f"))
        difference = score.measured(answered, measure, ("word", "solo"))
        row.append(score.cell(difference, "+.3f", 0))
        rows.append(row)
    head = ["the junior as rater", "before", "plain RL", "tandem RL", "tandem RL minus plain RL"]
    return rows_to_markdown(head, rows)


def speed() -> str:
    """The benchmark's fixed work; the figure has the curves."""
    measured = read_json(FOLDER / "speed.json")
    rows = []
    for name, value in measured.items():
        if name == "machine" or "_rows_" in name or "_length_" in name:
            continue
        rows.append([name.replace("_", " "), short_number(value), speed_unit(name)])
    return rows_to_markdown(["", measured["machine"], "unit"], rows, words=(0, 2))


def gpu_table(path: Path = FOLDER / "gpu.json") -> str:
    """A number a row, and the reason of a part that failed."""
    if not path.exists():
        return "not measured"
    record = read_json(path, "device", "parts")
    rows = []
    for part, labels in GPU_ROWS.items():
        numbers = record["parts"].get(part, {"failed": "it didn't run"})
        if "failed" in numbers:
            why = numbers["failed"].replace("|", "/")
            rows.append([f"`{part}` failed: {why}", "-"])
            continue
        for key, label in labels.items():
            if key in numbers:
                rows.append([label, short_number(numbers[key])])
    device = record["device"]
    return rows_to_markdown(["", f"{device['name']}, torch {device['torch']}"], rows)


def short_number(value: float | str) -> str:
    """With three digits, or all of those before the point. Words stay as they are."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


MIRRORED_ARMS = ("mirrored-word", "mirrored-solo", "mirrored-kl-0.1")
JARGON_ARMS = ("jargon-word", "jargon-solo", "jargon-kl-0.1")
TABLES: dict[str, Callable[[], str]] = {
    "five-seeds": lambda: four_findings("jargon"),
    "slips-findings": lambda: four_findings("slips"),
    "what-holds": what_holds,
    "jargon": lambda: arms("jargon"),
    "jargon-minus-plain-rl": lambda: minus_plain_rl("jargon"),
    "prediction": prediction,
    "work": lambda: arms("work"),
    "work-minus-plain-rl": lambda: minus_plain_rl("work"),
    "phrasings": lambda: arms("phrasings"),
    "phrasings-minus-plain-rl": lambda: minus_plain_rl("phrasings"),
    "slips": lambda: arms("slips"),
    "slips-minus-plain-rl": lambda: minus_plain_rl("slips"),
    "slips-right": slips_right,
    "slips-arms": slips_arms,
    "slips-trials": slips_trials,
    "slips-prediction": slips_prediction,
    "closeness": closeness,
    "smollm2-jargon": lambda: arms("smollm2-jargon", *JARGON_ARMS),
    "smollm2-jargon-minus-plain-rl": lambda: minus_plain_rl("smollm2-jargon", *JARGON_ARMS),
    "smollm2-mirrored": lambda: arms("smollm2-mirrored", *MIRRORED_ARMS),
    "smollm2-mirrored-minus-plain-rl": lambda: minus_plain_rl("smollm2-mirrored", *MIRRORED_ARMS),
    "smollm2-self": lambda: arms("smollm2-self"),
    "smollm2-slips": lambda: arms("smollm2-slips"),
    "ablations": ablations,
    "study": study_with_a_machine,
    "search": search,
    "speed": speed,
    "gpu": gpu_table,
}


if __name__ == "__main__":
    main()

"""A made-up study whose truth is known.

It has a key, the raters' answers, and the differences between arms over all raters and problems
that there could be.
"""

import json
import math
import random
from pathlib import Path

import numpy as np

TASKS = ("take-over", "check", "rate")
CUTS = (-2.0, -0.7, 0.5, 2.0)  # of the logistic scale, between ratings 1, 2 … 5
SPREADS = {  # standard deviations, in logits
    "rater": 0.5,
    "problem": 0.8,
    "rater_arm": 0.2,
    "problem_arm": 0.4,
}
SECONDS = 0.3  # by how much an advantage of 1 shortens the logarithm of the seconds
EXPECTED = {  # answers to the checks of attention
    "take-over": {"answer": "17"},
    "check": {"right": False},
    "rate": {"rating": 4},
}


def simulate(
    seed: int,
    raters: int = 12,
    items: int = 8,
    arms: dict[str, float] | None = None,
    base: float = 0.5,
    spreads: dict[str, float] = SPREADS,
    accuracies: np.ndarray | None = None,
    rotate: bool = False,
    missing: float = 0.0,
) -> tuple[dict, list[dict]]:
    """(key, one answers file a rater). Each rater has `items` items a task, each problem once.

    `arms` are the arms' advantages in logits. `accuracies` (A, P), of a rater with skill 0, take
    the place of problems and advantages in take-over. With `rotate` every problem is in every task,
    in each for a third of the raters; else each task has its own. `missing` is the probability that
    an item isn't answered.
    """
    arms = arms or {"word": 0.8, "solo": 0.0}
    names = list(arms)
    total = 3 * items

    rng = np.random.default_rng(seed)
    of_rater = rng.normal(0, spreads["rater"], raters)
    of_problem = rng.normal(0, spreads["problem"], total)
    of_rater_arm = rng.normal(0, spreads["rater_arm"], (raters, len(arms)))
    of_problem_arm = rng.normal(0, spreads["problem_arm"], (total, len(arms)))
    luck = rng.random(size=(raters, total))
    steps = rng.logistic(size=(raters, total))
    noise = rng.standard_normal(size=(raters, total))
    sure = rng.integers(1, 5, (raters, total)).tolist()
    given_up = rng.random((raters, total)) < missing
    right_answers = [int(rng.integers(100)) for _ in range(total)]

    def place(i: int, j: int) -> tuple[int, int]:
        """Task and arm of rater i's problem j."""
        if rotate:
            return (i + j) % 3, (i // 3 + j // 3) % len(arms)
        return j // items, (i + j) % len(arms)

    def logit_of(i: int, j: int) -> float:
        task, a = place(i, j)
        if accuracies is not None and task == 0:
            p = np.clip(accuracies[a, j], 0.02, 0.98)
            return math.log(p / (1 - p)) + of_rater[i]
        of_arm = of_rater_arm[i, a] + of_problem_arm[j, a]
        return base + arms[names[a]] + of_rater[i] + of_problem[j] + of_arm

    def answer_to(i: int, j: int, item: dict) -> dict:
        logit = logit_of(i, j)
        good = bool(luck[i, j] < 1 / (1 + math.exp(-logit)))
        if item["task"] == "take-over":
            answer = {"working": "", "answer": str(right_answers[j] + (not good))}
        elif item["task"] == "check":
            answer = {"right": item["right"] == good, "sure": sure[i][j]}
        else:
            rating = 1 + sum(bool(logit + steps[i, j] > cut) for cut in CUTS)
            answer = {"rating": rating, "stopped": "" if rating > 1 else "all of it"}
        answer["seconds"] = math.exp(3.5 + 0.2 * noise[i, j] - SECONDS * logit)
        return answer

    key = {
        "study": f"simulated-{seed}",
        "arms": names,
        "tasks": list(TASKS),
        "raters": {},
        "machine": {},
        "prompt_template": "{question}",
    }
    files = []
    for i in range(raters):
        rows = []  # (item, answer or None)
        for j in range(total):
            task, a = place(i, j)
            item = {
                "kind": "item",
                "task": TASKS[task],
                "arm": names[a],
                "problem": j,
                "question": f"Question {j}?",
                "shown": f"text {j} {names[a]}",
                "answer": str(right_answers[j]),
                "right": bool(j % 2),
            }
            rows.append((item, None if given_up[i, j] else answer_to(i, j, item)))
        rows += extra_rows()
        random.Random(seed * 1000 + i).shuffle(rows)

        rater = f"{i + 1:02}"
        key["raters"][rater] = []
        answers = {}
        for n, (item, answer) in enumerate(rows, 1):
            number = f"{n:02}"
            key["raters"][rater].append({"id": number, "arm": None, "problem": None} | item)
            if answer is not None:
                answers[number] = answer
        files.append(answers_file(key["study"], rater, f"2026-01-01T11:{i:02}:00Z", answers))
    return key, files


def extra_rows() -> list[tuple[dict, dict]]:
    """For each task a passed check of attention, and an item for practice."""
    rows = []
    for task, expected in EXPECTED.items():
        check = {"kind": "attention", "task": task, "expected": expected}
        rows.append((check, expected | {"seconds": 5.0}))
        practice = {"kind": "practice", "task": task}
        rows.append((practice, {"answer": "0", "right": True, "rating": 1}))
    return rows


def answers_file(study: str, rater: str, finished: str, answers: dict) -> dict:
    """The content of a file that a rater's page saves."""
    return {
        "format": "tandem-study",
        "version": 1,
        "study": study,
        "rater": rater,
        "began": "2026-01-01T10:00:00Z",
        "finished": finished,
        "withdrawn": False,
        "answers": answers,
    }


def truth(
    task: str, advantage: float, base: float = 0.5, spreads: dict[str, float] = SPREADS
) -> float:
    """An arm's expected accuracy, or rating, over all raters and problems that there could be."""
    nodes, heights = np.polynomial.hermite_e.hermegauss(60)  # (60,) each
    spread = math.sqrt(sum(value**2 for value in spreads.values()))
    logits = base + advantage + spread * nodes
    cuts = np.array(CUTS if task == "rate" else [0.0])
    chances = 1 / (1 + np.exp(cuts - logits[:, None]))  # (60, cuts)
    mean = float(heights @ chances.sum(1) / heights.sum())
    return mean + (task == "rate")  # the lowest rating is 1


def write_study(folder: Path, key: dict, files: list[dict]) -> list[str]:
    """Writes key.json and the raters' files into a folder. Returns the paths of the files."""
    (folder / "key.json").write_text(json.dumps(key))
    paths = []
    for file in files:
        path = folder / f"answers-{file['rater']}.json"
        path.write_text(json.dumps(file))
        paths.append(str(path))
    return paths

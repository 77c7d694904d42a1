"""A made-up study whose truth is known: its key, its raters' answers, and the differences between arms in all raters
and problems that there could be."""

import json
import math
import random
from pathlib import Path

import numpy as np

TASKS = ("take-over", "check", "rate")
CUTS = (-2.0, -0.7, 0.5, 2.0)  # of the logistic scale, between ratings 1, 2 … 5
SPREADS = {
    "rater": 0.5,
    "problem": 0.8,
    "rater_arm": 0.2,
    "problem_arm": 0.4,
}  # standard deviations, in logits
SECONDS = 0.3  # by how much an advantage of 1 shortens the logarithm of the seconds


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
    """(key, one answers file a rater). Each rater has `items` items of each task, each problem once.

    `arms` are the arms' advantages in logits. `accuracies` (A, P), of a rater with skill 0, take the place of problems
    and advantages in take-over. With `rotate` every problem is in every task, in each for a third of the raters; else
    each task has its own. `missing` is the probability that an item isn't answered.
    """
    arms = arms or {"word": 0.8, "solo": 0.0}
    rng, names, total = np.random.default_rng(seed), list(arms), 3 * items
    sizes = {
        "rater": raters,
        "problem": total,
        "rater_arm": (raters, len(arms)),
        "problem_arm": (total, len(arms)),
    }
    draws = {name: rng.normal(0, spreads[name], size) for name, size in sizes.items()}
    luck, steps, noise = (
        draw(size=(raters, total)) for draw in (rng.random, rng.logistic, rng.standard_normal)
    )
    sure, given_up = (
        rng.integers(1, 5, (raters, total)).tolist(),
        rng.random((raters, total)) < missing,
    )
    answers = {f"{j}": str(rng.integers(100)) for j in range(total)}
    key = {
        "study": f"simulated-{seed}",
        "arms": names,
        "tasks": list(TASKS),
        "raters": {},
        "machine": {},
    }
    key, files = key | {"prompt_template": "{question}"}, []
    for i in range(raters):
        given, rows = {}, []
        for j in range(total):
            task = (i + j) % 3 if rotate else j // items
            a = (i // 3 + j // 3 if rotate else i + j) % len(arms)
            logit = base + arms[names[a]] + draws["rater"][i] + draws["problem"][j]
            logit += draws["rater_arm"][i, a] + draws["problem_arm"][j, a]
            if accuracies is not None and task == 0:
                p = np.clip(accuracies[a, j], 0.02, 0.98)
                logit = math.log(p / (1 - p)) + draws["rater"][i]
            good = bool(luck[i, j] < 1 / (1 + math.exp(-logit)))
            item = {
                "kind": "item",
                "task": TASKS[task],
                "arm": names[a],
                "problem": j,
                "question": f"Question {j}?",
            }
            item |= {
                "shown": f"text {j} {names[a]}",
                "answer": answers[f"{j}"],
                "right": bool(j % 2),
            }
            rating = 1 + sum(bool(logit + steps[i, j] > cut) for cut in CUTS)
            number = int(answers[f"{j}"]) + (not good)
            answer = [
                {"working": "", "answer": str(number)},
                {"right": item["right"] == good, "sure": sure[i][j]},
                {"rating": rating, "stopped": "" if rating > 1 else "all of it"},
            ][task]
            answer["seconds"] = math.exp(3.5 + 0.2 * noise[i, j] - SECONDS * logit)
            rows.append((item, None if given_up[i, j] else answer))
        for task, expected in zip(
            TASKS, ({"answer": "17"}, {"right": False}, {"rating": 4}), strict=True
        ):
            rows.append(
                (
                    {"kind": "attention", "task": task, "expected": expected},
                    {**expected, "seconds": 5.0},
                )
            )
            rows.append(
                ({"kind": "practice", "task": task}, {"answer": "0", "right": True, "rating": 1})
            )
        random.Random(seed * 1000 + i).shuffle(rows)
        items_of = [
            {"id": f"{n:02}", "arm": None, "problem": None, **item}
            for n, (item, _) in enumerate(rows, 1)
        ]
        given = {
            item["id"]: answer
            for item, (_, answer) in zip(items_of, rows, strict=True)
            if answer is not None
        }
        key["raters"][f"{i + 1:02}"] = items_of
        content = {
            "format": "tandem-study",
            "version": 1,
            "study": key["study"],
            "rater": f"{i + 1:02}",
        }
        times = {"began": "2026-01-01T10:00:00Z", "finished": f"2026-01-01T11:{i:02}:00Z"}
        files.append(content | times | {"withdrawn": False, "answers": given})
    return key, files


def truth(
    task: str, advantage: float, base: float = 0.5, spreads: dict[str, float] = SPREADS
) -> float:
    """An arm's expected accuracy, or rating, over all raters and problems that there could be."""
    nodes, heights = np.polynomial.hermite_e.hermegauss(60)
    logits = base + advantage + math.sqrt(sum(value**2 for value in spreads.values())) * nodes
    cuts = np.array(CUTS if task == "rate" else [0.0])
    chances = 1 / (1 + np.exp(cuts - logits[:, None]))
    return float(heights @ chances.sum(1) / heights.sum()) + (task == "rate")


def write_study(folder: Path, key: dict, files: list[dict]) -> list[str]:
    """Writes key.json and the raters' files into a folder; the paths of these."""
    (folder / "key.json").write_text(json.dumps(key))
    paths = [folder / f"answers-{file['rater']}.json" for file in files]
    for path, file in zip(paths, files, strict=True):
        path.write_text(json.dumps(file))
    return [str(path) for path in paths]

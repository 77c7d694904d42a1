"""Supervised training of a world's pair:  python train.py --pretrain --world WORLD

The models begin with random weights. A pair's senior is good at plain solutions and at another
language, which it prefers. The junior only knows plain solutions.
"""

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from data.problems import WORLDS, Language, WorldName, first_problems, problems, write_solution
from data.tokenizer import Tokenizer, load_tokenizer
from evaluate import Sampling, solo_accuracy
from model import GPT, GPTConfig, autocast
from support.runs.devices import pick_device
from support.runs.files import new_directory, read_model, write_model
from support.runs.options import quoted
from support.runs.pair import base_directory
from support.runs.progress import progress


@dataclass(frozen=True)
class Recipe:
    """A supervised run: the model, its steps, and the shares of the languages.

    The shares of an early and of a late step add up to 1 each.
    """

    model: GPTConfig
    steps: int
    early: dict[Language, float]
    late: dict[Language, float]
    learning_rate: float = 4e-3
    batch_size: int = 64
    last_part: float = 0.15  # share of the steps that are late
    stop_at: float | None = None  # solo pass@1 on the validation split at which training stops
    start: Path | None = None  # weights to begin with; random if None


SENIOR = GPTConfig(n_layers=3, d_model=96, d_ff=256)
LONGER_SENIOR = replace(SENIOR, max_seq_len=160)
LONGEST_SENIOR = replace(SENIOR, max_seq_len=256)
JUNIOR = GPTConfig(n_layers=2, d_model=64, d_ff=176)
ALL_PLAIN = {"plain": 1.0}
ALL_PHRASED = {"phrased": 1.0}
ALL_SLIPPING = {"slipping": 1.0}
JARGON_SENIOR = Recipe(
    model=SENIOR,
    steps=3500,
    early={"jargon": 0.5, "plain": 0.5},
    late={"jargon": 0.88, "plain": 0.12},
)
COARSE_SENIOR = Recipe(
    model=SENIOR,
    steps=3500,
    early={"coarse": 0.5, "plain": 0.5},
    late={"coarse": 0.92, "plain": 0.08},
)
PHRASED_SENIOR = Recipe(LONGER_SENIOR, 3500, ALL_PHRASED, ALL_PHRASED)
SLIPPING_SENIOR = Recipe(
    model=LONGEST_SENIOR,
    steps=2000,
    early=ALL_SLIPPING,
    late=ALL_SLIPPING,
    learning_rate=2e-3,
    batch_size=32,
    start=base_directory("jargon") / "senior.pt",
)
PLAIN_JUNIOR = Recipe(JUNIOR, 1600, ALL_PLAIN, ALL_PLAIN, stop_at=0.92)
RECIPES: dict[WorldName, dict[str, Recipe]] = {
    "jargon": {"senior": JARGON_SENIOR, "junior": PLAIN_JUNIOR},
    "work": {"senior": COARSE_SENIOR, "junior": PLAIN_JUNIOR},
    "phrasings": {"senior": PHRASED_SENIOR},  # the junior is a frozen copy
    "slips": {"senior": SLIPPING_SENIOR},  # the same
}


def solved_problems(stream, rng, n: int, shares: dict[str, float]) -> list[tuple[str, str]]:
    """n questions with a solution each, in languages drawn by their shares."""
    pairs = []
    for _ in range(n):
        problem = next(stream)
        [language] = rng.choices(list(shares), shares.values())
        solution = write_solution(problem, language, rng)
        pairs.append((problem.question, solution))
    return pairs


def solution_batch(
    pairs, tokenizer: Tokenizer, template: str = "{question}"
) -> tuple[Tensor, Tensor]:
    """Inputs and targets (B, T) of (question, solution) pairs.

    Only the solution is learnt: the other targets are -100, which the loss ignores.
    """
    inputs = []
    targets = []
    for question, text in pairs:
        prompt = tokenizer.prompt(question, template)
        solution = [*tokenizer.encode(text), tokenizer.closing]
        ids = prompt + solution
        inputs.append(torch.tensor(ids[:-1]))
        ignored = [-100] * (len(prompt) - 1)
        targets.append(torch.tensor(ignored + solution))
    inputs = pad_sequence(inputs, True, tokenizer.pad)  # (B, T)
    targets = pad_sequence(targets, True, -100)  # (B, T)
    return inputs, targets


def fit(
    model: GPT, optimizer, rate: float, inputs: Tensor, targets: Tensor, precision: str = "float32"
) -> float:
    """A step on the targets that aren't -100. Their mean cross-entropy, in nats."""
    optimizer.param_groups[0]["lr"] = rate
    device = model.device
    learnt = targets >= 0  # (B, T)
    with autocast(precision, device):
        states = model.hidden(inputs.to(device))  # (B, T, C)
        logits = model.head(states[learnt.to(device)])  # (M, V)
    loss = F.cross_entropy(logits.float(), targets[learnt].to(device))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def train_base(
    recipe: Recipe, tokenizer: Tokenizer, seed: int, device, name: str, world: WorldName = "jargon"
) -> GPT:
    """Supervised training on the solutions' tokens.

    AdamW's rate warms up over 100 steps, and falls along a cosine to nearly 0.
    """
    torch.manual_seed(seed)
    model = GPT(recipe.model)
    if recipe.start is not None:
        model.load_state_dict(read_model(recipe.start).state_dict())
    model = model.to(device)
    key = f"{name}/{seed}"
    rng = random.Random(key)
    stream = problems("train", key, world)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1
    )
    sampling = Sampling(samples=1, max_new_tokens=WORLDS[world].max_new_tokens)
    held_out = None
    bar = progress(range(recipe.steps), desc=f"supervised {name}", unit="step")
    for step in bar:
        rate = recipe.learning_rate * min(1.0, (step + 1) / 100)
        rate *= 0.05 + 0.475 * (1 + math.cos(math.pi * step / recipe.steps))
        late = step >= (1 - recipe.last_part) * recipe.steps
        shares = recipe.late if late else recipe.early
        pairs = solved_problems(stream, rng, recipe.batch_size, shares)
        inputs, targets = solution_batch(pairs, tokenizer)
        loss = fit(model, optimizer, rate, inputs, targets)
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        if recipe.stop_at is not None and step % 25 == 24 and step > recipe.steps / 2:
            held_out = held_out or first_problems("validation", 500, "stop", world)
            accuracy, _ = solo_accuracy(model, tokenizer, held_out, sampling)
            if accuracy >= recipe.stop_at:
                break
    return model.eval()


def pretrain(config) -> None:
    """Train a world's pair, and write senior.pt and junior.pt to --out.

    Each model's accuracy on the validation split is printed.
    """
    world = config.world
    device = pick_device(config.device)
    tokenizer = load_tokenizer()
    recipes = RECIPES[world]
    default = Path("runs") / f"base-{world}"
    out = new_directory(config.out or default, default, keep=("senior.pt",))
    sampling = Sampling(max_new_tokens=WORLDS[world].max_new_tokens)
    for name, recipe in recipes.items():
        path = out / f"{name}.pt"
        if path.exists():  # the training of the other was interrupted
            print(f"{path}: kept, it is there already")
            continue
        trained = train_base(recipe, tokenizer, config.seed, device, name, world)
        held_out = first_problems("validation", 500, config.seed, world)
        accuracy, jargon = solo_accuracy(trained, tokenizer, held_out, sampling)
        write_model(trained, path)
        rate = "" if jargon is None else f", jargon in {jargon:.0%} of the responses"
        print(f"{path}: solo pass@1 {accuracy:.3f}{rate}")
    command = f"python train.py --world {world}"
    if out.resolve() != base_directory(world).resolve():  # a run doesn't look there by itself
        for name in recipes:
            command += f" --{name} {quoted(out / f'{name}.pt')}"
    print(f"use the pair: {command}")

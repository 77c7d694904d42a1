"""Supervised training of a world's pair, from random weights:  python train.py --pretrain --world WORLD

A pair's senior is good at plain solutions and another language, and prefers the other; the junior knows plain ones alone.
"""

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from data.problems import WORLDS, Language, WorldName, first_problems, problems, write_solution
from data.tokenizer import Tokenizer, load_tokenizer
from evaluate import Sampling, solo_accuracy
from model import GPT, GPTConfig, autocast
from support.runs.files import new_directory, write_model
from support.runs.options import pick_device
from support.runs.pair import base_directory


@dataclass(frozen=True)
class Recipe:
    """A supervised run: the model, its steps, and the shares of the languages, which add up to 1, early and at the end."""

    model: GPTConfig
    steps: int
    early: dict[Language, float]
    late: dict[Language, float]
    learning_rate: float = 4e-3
    batch_size: int = 64
    last_part: float = 0.15  # of the steps, which are late
    stop_at: float | None = None  # solo pass@1 on the validation split at which training stops


SENIOR, JUNIOR = (
    GPTConfig(n_layers=3, d_model=96, d_ff=256),
    GPTConfig(n_layers=2, d_model=64, d_ff=176),
)
JARGON = Recipe(SENIOR, 3500, {"jargon": 0.5, "plain": 0.5}, {"jargon": 0.88, "plain": 0.12})
COARSE = Recipe(SENIOR, 3500, {"coarse": 0.5, "plain": 0.5}, {"coarse": 0.92, "plain": 0.08})
PLAIN_JUNIOR = Recipe(JUNIOR, 1600, {"plain": 1.0}, {"plain": 1.0}, stop_at=0.92)
RECIPES: dict[WorldName, dict[str, Recipe]] = {  # without a junior: a frozen copy of the senior
    "jargon": {"senior": JARGON, "junior": PLAIN_JUNIOR},
    "work": {"senior": COARSE, "junior": PLAIN_JUNIOR},
    "phrasings": {
        "senior": Recipe(replace(SENIOR, max_seq_len=160), 3500, {"phrased": 1.0}, {"phrased": 1.0})
    },
}


def written(stream, rng, size: int, shares: dict[str, float]) -> list[tuple[str, str]]:
    """So many questions with a solution each, in languages drawn by their shares."""
    pairs = []
    for _ in range(size):
        problem, [language] = next(stream), rng.choices(list(shares), shares.values())
        pairs.append((problem.question, write_solution(problem, language, rng)))
    return pairs


def solution_batch(
    pairs, tokenizer: Tokenizer, template: str = "{question}"
) -> tuple[Tensor, Tensor]:
    """Of (question, solution) pairs, inputs and targets (B, T) long; -100, which the loss ignores, but for the solution."""
    inputs, targets = [], []
    for question, text in pairs:
        prompt, solution = (
            tokenizer.prompt(question, template),
            [*tokenizer.encode(text), tokenizer.closing],
        )
        inputs.append(torch.tensor((prompt + solution)[:-1]))
        targets.append(torch.tensor([-100] * (len(prompt) - 1) + solution))
    return pad_sequence(inputs, True, tokenizer.pad), pad_sequence(
        targets, True, -100
    )  # (B, T) each


def fit(
    model: GPT, optimizer, rate: float, inputs: Tensor, targets: Tensor, precision: str = "float32"
) -> float:
    """A step on the targets that aren't -100. Their mean cross-entropy, in nats."""
    optimizer.param_groups[0]["lr"] = rate
    learnt = targets >= 0  # (B, T)
    with autocast(precision, model.device):
        logits = model.head(
            model.hidden(inputs.to(model.device))[learnt.to(model.device)]
        )  # (M, V)
    loss = F.cross_entropy(logits.float(), targets[learnt].to(model.device))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def train_base(
    recipe: Recipe, tokenizer: Tokenizer, seed: int, device, name: str, world: WorldName = "jargon"
) -> GPT:
    """Supervised training on the solutions' tokens: AdamW, a warm-up over 100 steps and a cosine down to nearly 0."""
    torch.manual_seed(seed)
    model = GPT(recipe.model).to(device)
    rng, stream = random.Random(f"{name}/{seed}"), problems("train", f"{name}/{seed}", world)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1
    )
    sampling, held_out = Sampling(samples=1, max_new_tokens=WORLDS[world].max_new_tokens), None
    bar = tqdm(range(recipe.steps), desc=f"supervised {name}", unit="step")
    for step in bar:
        rate = recipe.learning_rate * min(1.0, (step + 1) / 100)
        rate *= 0.05 + 0.475 * (1 + math.cos(math.pi * step / recipe.steps))
        shares = recipe.late if step >= (1 - recipe.last_part) * recipe.steps else recipe.early
        loss = fit(
            model,
            optimizer,
            rate,
            *solution_batch(written(stream, rng, recipe.batch_size, shares), tokenizer),
        )
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        if recipe.stop_at is not None and step % 25 == 24 and step > recipe.steps / 2:
            held_out = held_out or first_problems("validation", 500, "stop", world)
            if solo_accuracy(model, tokenizer, held_out, sampling)[0] >= recipe.stop_at:
                break
    return model.eval()


def pretrain(config) -> None:
    """Train a world's pair, print its accuracy on the validation split, write senior.pt and junior.pt to --out."""
    world, device, tokenizer = config.world, pick_device(config.device), load_tokenizer()
    recipes, own = RECIPES[world], Path("runs") / f"base-{world}"
    out = new_directory(config.out or own, own, keep=("senior.pt",))
    sampling = Sampling(max_new_tokens=WORLDS[world].max_new_tokens)
    for name, recipe in recipes.items():
        path = out / f"{name}.pt"
        if path.exists():  # the rest was interrupted
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
        command += "".join(f" --{name} {out / f'{name}.pt'}" for name in recipes)
    print(f"use the pair: {command}")

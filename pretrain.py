"""The supervised base: the pair from which tandem RL starts. `python train.py --pretrain` trains it again from nothing.

The senior sees plain and jargon solutions in equal number, so that it is good at both, and at the end mostly jargon, so
that it prefers it. The junior is smaller, sees plain solutions alone, and stops learning before it is perfect.
`--world` trains the pair of another world, whose senior may prefer something else (RECIPES).
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from data.problems import WORLDS, Language, Problem, WorldName, problems, take, write_solution
from data.tokenizer import Tokenizer
from evaluate import Sampling, solo_accuracy
from model import GPT, GPTConfig, save_model
from runs import base_directory


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


JARGON_SENIOR = Recipe(
    GPTConfig(n_layers=3, d_model=96, d_ff=256),
    steps=3500,
    early={"jargon": 0.5, "plain": 0.5},
    late={"jargon": 0.88, "plain": 0.12},
)
PLAIN_JUNIOR = Recipe(
    GPTConfig(n_layers=2, d_model=64, d_ff=176), steps=1600, early={"plain": 1.0}, late={"plain": 1.0}, stop_at=0.92
)
LARGE = dict(head_dim=64, max_seq_len=256)  # of `hard`, whose recipes are for a GPU
RECIPES: dict[WorldName, tuple[Recipe, Recipe | None]] = {  # (senior, junior); None: a frozen copy of the senior
    "jargon": (JARGON_SENIOR, PLAIN_JUNIOR),
    "work": (
        replace(JARGON_SENIOR, early={"coarse": 0.5, "plain": 0.5}, late={"coarse": 0.92, "plain": 0.08}),
        PLAIN_JUNIOR,
    ),
    "phrasings": (
        Recipe(
            GPTConfig(n_layers=3, d_model=96, d_ff=256, max_seq_len=160),
            steps=3500,
            early={"phrased": 1.0},
            late={"phrased": 1.0},
        ),
        None,
    ),
    "hard": (  # of 25 M and 8 M parameters
        Recipe(
            GPTConfig(n_layers=8, n_heads=8, n_kv_heads=4, d_model=512, d_ff=1536, **LARGE),
            steps=6000,
            early={"jargon": 0.5, "plain": 0.5},
            late={"jargon": 0.88, "plain": 0.12},
            learning_rate=6e-4,
            batch_size=256,
        ),
        Recipe(
            GPTConfig(n_layers=6, n_heads=5, n_kv_heads=5, d_model=320, d_ff=896, **LARGE),
            steps=6000,
            early={"plain": 1.0},
            late={"plain": 1.0},
            learning_rate=1e-3,
            batch_size=256,
            stop_at=0.85,
        ),
    ),
}


def solution_batch(
    stream: Iterator[Problem], rng: random.Random, tokenizer: Tokenizer, size: int, shares: dict[Language, float]
) -> tuple[Tensor, Tensor]:
    """Problems with a solution each: inputs and targets (B, T) long, -100 where nothing is to be learnt."""
    inputs, targets = [], []
    for _ in range(size):
        problem, [language] = next(stream), rng.choices(list(shares), shares.values())
        prompt = tokenizer.encode(problem.prompt)
        solution = [*tokenizer.encode(write_solution(problem, language, rng)), tokenizer.end]
        inputs.append(torch.tensor((prompt + solution)[:-1]))
        targets.append(torch.tensor([-100] * (len(prompt) - 1) + solution))
    padded = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    return padded(inputs, padding_value=tokenizer.pad), padded(targets, padding_value=-100)


def train_base(
    recipe: Recipe, tokenizer: Tokenizer, seed: int, device: torch.device, name: str, world: WorldName = "jargon"
) -> GPT:
    """Supervised training on the solutions' tokens: AdamW, a warm-up over 100 steps and a cosine down to nearly 0."""
    torch.manual_seed(seed)
    model = GPT(recipe.model).to(device)
    rng, stream = random.Random(f"{name}/{seed}"), problems("train", f"{name}/{seed}", world)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    steps, bar = recipe.steps, tqdm(range(recipe.steps), desc=f"supervised {name}", unit="step")
    for step in bar:
        warm_up, decay = min(1.0, (step + 1) / 100), 0.05 + 0.475 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * warm_up * decay
        shares = recipe.late if step >= (1 - recipe.last_part) * steps else recipe.early
        inputs, targets = (
            x.to(device) for x in solution_batch(stream, rng, tokenizer, recipe.batch_size, shares)
        )  # (B, T)
        learnt = targets >= 0  # (B, T)
        logits = model.head(model.hidden(inputs)[learnt])  # (M, V)
        loss = F.cross_entropy(logits, targets[learnt])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
        if recipe.stop_at is not None and step % 25 == 24 and step > steps / 2:
            how = Sampling(samples=1, max_new_tokens=WORLDS[world].max_new_tokens)
            accuracy, _ = solo_accuracy(model, take("validation", 500, "stop", world), tokenizer, how)
            if accuracy >= recipe.stop_at:
                break
    return model.eval()


def pretrain(out: Path, seed: int, device: torch.device, tokenizer: Tokenizer, world: WorldName = "jargon") -> None:
    """Train a world's pair, say how good it is on the validation split, and write out/senior.pt and out/junior.pt.

    There is no junior where the world has none. A senior that is there already, as the rest was interrupted, is kept.
    """
    names, how = ("senior", "junior"), Sampling(max_new_tokens=WORLDS[world].max_new_tokens)
    recipes = {name: recipe for name, recipe in zip(names, RECIPES[world], strict=True) if recipe}
    for name, recipe in recipes.items():
        if (out / f"{name}.pt").exists():
            print(f"{out / f'{name}.pt'}: kept, it is there already")
            continue
        model = train_base(recipe, tokenizer, seed, device, name, world)
        accuracy, jargon = solo_accuracy(model, take("validation", 500, seed, world), tokenizer, how)
        save_model(model, out / f"{name}.pt")
        rate = "" if jargon is None else f", jargon in {jargon:.0%} of the responses"
        print(f"{out / f'{name}.pt'}: solo pass@1 {accuracy:.3f}{rate}")
    found = out.resolve() == base_directory(world).resolve()  # by itself
    options = [] if found else [f"--{name} {out / f'{name}.pt'}" for name in recipes]
    print(f"use {'them' if len(recipes) > 1 else 'it'}: {' '.join([f'python train.py --world {world}', *options])}")

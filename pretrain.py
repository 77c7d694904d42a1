"""The supervised base: the pair from which tandem RL starts. `python train.py --pretrain` trains it again from nothing.

The senior sees plain and jargon solutions in equal number, so that it is good at both, and at the end mostly jargon, so
that it prefers it. The junior is smaller, sees plain solutions alone, and stops learning before it is perfect.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from data.problems import Problem, problems, take, write_solution
from data.tokenizer import Tokenizer
from evaluate import Sampling, solo_accuracy
from model import GPT, GPTConfig, save_model


@dataclass(frozen=True)
class Recipe:
    """A supervised run: the model, its steps of 64 solutions, and the share of jargon, early and in the last steps."""

    model: GPTConfig
    steps: int
    jargon_share: float
    last_jargon_share: float
    learning_rate: float = 4e-3
    batch_size: int = 64
    last_part: float = 0.15  # of the steps, with last_jargon_share
    stop_at: float | None = None  # solo pass@1 on the validation split at which training stops


SENIOR = Recipe(GPTConfig(n_layers=3, d_model=96, d_ff=256), steps=3500, jargon_share=0.5, last_jargon_share=0.88)
JUNIOR = Recipe(
    GPTConfig(n_layers=2, d_model=64, d_ff=176), steps=1600, jargon_share=0.0, last_jargon_share=0.0, stop_at=0.92
)


def solution_batch(
    stream: Iterator[Problem], rng: random.Random, tokenizer: Tokenizer, size: int, jargon_share: float
) -> tuple[Tensor, Tensor]:
    """Problems with a solution each: inputs and targets (B, T) long, -100 where nothing is to be learnt."""
    inputs, targets = [], []
    for _ in range(size):
        problem, language = next(stream), "jargon" if rng.random() < jargon_share else "plain"
        prompt = tokenizer.encode(problem.prompt)
        solution = [*tokenizer.encode(write_solution(problem, language)), tokenizer.end]
        inputs.append(torch.tensor((prompt + solution)[:-1]))
        targets.append(torch.tensor([-100] * (len(prompt) - 1) + solution))
    padded = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    return padded(inputs, padding_value=tokenizer.pad), padded(targets, padding_value=-100)


def train_base(recipe: Recipe, tokenizer: Tokenizer, seed: int, device: torch.device, name: str) -> GPT:
    """Supervised training on the solutions' tokens: AdamW, a warm-up over 100 steps and a cosine down to nearly 0."""
    torch.manual_seed(seed)
    model = GPT(recipe.model).to(device)
    rng, stream = random.Random(f"{name}/{seed}"), problems("train", f"{name}/{seed}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    steps, bar = recipe.steps, tqdm(range(recipe.steps), desc=f"supervised {name}", unit="step")
    for step in bar:
        warm_up, decay = min(1.0, (step + 1) / 100), 0.05 + 0.475 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * warm_up * decay
        share = recipe.last_jargon_share if step >= (1 - recipe.last_part) * steps else recipe.jargon_share
        inputs, targets = (
            x.to(device) for x in solution_batch(stream, rng, tokenizer, recipe.batch_size, share)
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
            accuracy, _ = solo_accuracy(model, take("validation", 500, "stop"), tokenizer, Sampling(samples=1))
            if accuracy >= recipe.stop_at:
                break
    return model.eval()


def pretrain(out: Path, seed: int, device: torch.device, tokenizer: Tokenizer) -> None:
    """Train senior and junior, say how good they are on the validation split, and write out/senior.pt and out/junior.pt."""
    for name, recipe in (("senior", SENIOR), ("junior", JUNIOR)):
        model = train_base(recipe, tokenizer, seed, device, name)
        accuracy, jargon = solo_accuracy(model, take("validation", 500, seed), tokenizer, Sampling())
        save_model(model, out / f"{name}.pt")
        print(f"{out / f'{name}.pt'}: solo pass@1 {accuracy:.3f}, jargon in {jargon:.0%} of the responses")
    print(f"use them: python train.py --senior {out / 'senior.pt'} --junior {out / 'junior.pt'}")

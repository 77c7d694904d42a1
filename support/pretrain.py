"""Supervised training: the shipped pairs from nothing, and any model on a world's solutions or on a file's.

    python train.py --pretrain --world WORLD                                a world's pair, from random weights
    python -m support.pretrain --senior smollm2 --shares plain=1 --out DIR  a directory that --senior and --junior take

A pair's senior is good at plain solutions and another language, and prefers the other; the junior knows plain ones alone.
"""

import contextlib
import math
import random
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from data.problems import WORLDS, Language, WorldName, epoch_batch, first_problems, problems, write_solution
from data.tokenizer import Tokenizer, load_tokenizer
from evaluate import Sampling, solo_accuracy
from model import GPT, GPTConfig, autocast, save_model
from support.checks import base_directory
from support.options import UserError, command, parse, pick_device
from support.pretrained import check_export, save_pretrained
from support.problem_files import read_json_lines
from support.run import load_any, new_directory, on_signals, read_file


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


SENIOR, JUNIOR = GPTConfig(n_layers=3, d_model=96, d_ff=256), GPTConfig(n_layers=2, d_model=64, d_ff=176)
JARGON = Recipe(SENIOR, 3500, {"jargon": 0.5, "plain": 0.5}, {"jargon": 0.88, "plain": 0.12})
COARSE = Recipe(SENIOR, 3500, {"coarse": 0.5, "plain": 0.5}, {"coarse": 0.92, "plain": 0.08})
PLAIN_JUNIOR = Recipe(JUNIOR, 1600, {"plain": 1.0}, {"plain": 1.0}, stop_at=0.92)
RECIPES: dict[WorldName, dict[str, Recipe]] = {  # without a junior: a frozen copy of the senior
    "jargon": {"senior": JARGON, "junior": PLAIN_JUNIOR},
    "work": {"senior": COARSE, "junior": PLAIN_JUNIOR},
    "phrasings": {"senior": Recipe(replace(SENIOR, max_seq_len=160), 3500, {"phrased": 1.0}, {"phrased": 1.0})},
}


def written(stream, rng, size: int, shares: dict[str, float]) -> list[tuple[str, str]]:
    """So many questions with a solution each, in languages drawn by their shares."""
    pairs = []
    for _ in range(size):
        problem, [language] = next(stream), rng.choices(list(shares), shares.values())
        pairs.append((problem.question, write_solution(problem, language, rng)))
    return pairs


def solution_batch(pairs, tokenizer: Tokenizer, template: str = "{question}") -> tuple[Tensor, Tensor]:
    """Of (question, solution) pairs, inputs and targets (B, T) long; -100, which the loss ignores, but for the solution."""
    inputs, targets = [], []
    for question, text in pairs:
        prompt, solution = tokenizer.prompt(question, template), [*tokenizer.encode(text), tokenizer.closing]
        inputs.append(torch.tensor((prompt + solution)[:-1]))
        targets.append(torch.tensor([-100] * (len(prompt) - 1) + solution))
    return pad_sequence(inputs, True, tokenizer.pad), pad_sequence(targets, True, -100)  # (B, T) each


def fit(model: GPT, optimizer, rate: float, inputs: Tensor, targets: Tensor, precision: str = "float32") -> float:
    """A step on the targets that aren't -100. Their mean cross-entropy, in nats."""
    optimizer.param_groups[0]["lr"] = rate
    learnt = targets >= 0  # (B, T)
    with autocast(precision, model.device):
        logits = model.head(model.hidden(inputs.to(model.device))[learnt.to(model.device)])  # (M, V)
    loss = F.cross_entropy(logits.float(), targets[learnt].to(model.device))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def train_base(recipe: Recipe, tokenizer: Tokenizer, seed: int, device, name: str, world: WorldName = "jargon") -> GPT:
    """Supervised training on the solutions' tokens: AdamW, a warm-up over 100 steps and a cosine down to nearly 0."""
    torch.manual_seed(seed)
    model = GPT(recipe.model).to(device)
    rng, stream = random.Random(f"{name}/{seed}"), problems("train", f"{name}/{seed}", world)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    sampling, held_out = Sampling(samples=1, max_new_tokens=WORLDS[world].max_new_tokens), None
    bar = tqdm(range(recipe.steps), desc=f"supervised {name}", unit="step")
    for step in bar:
        rate = recipe.learning_rate * min(1.0, (step + 1) / 100)
        rate *= 0.05 + 0.475 * (1 + math.cos(math.pi * step / recipe.steps))
        shares = recipe.late if step >= (1 - recipe.last_part) * recipe.steps else recipe.early
        loss = fit(model, optimizer, rate, *solution_batch(written(stream, rng, recipe.batch_size, shares), tokenizer))
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
        save_model(trained, path)
        rate = "" if jargon is None else f", jargon in {jargon:.0%} of the responses"
        print(f"{path}: solo pass@1 {accuracy:.3f}{rate}")
    command = f"python train.py --world {world}"
    if out.resolve() != base_directory(world).resolve():  # a run doesn't look there by itself
        command += "".join(f" --{name} {out / f'{name}.pt'}" for name in recipes)
    print(f"use the pair: {command}")


# ---- Any model -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FineTuning:
    senior: str | None = None
    """checkpoint, Hugging Face directory or GGUF file of the model to train, or smollm2"""
    out: str = "runs/fine-tuned"
    """new Hugging Face directory of the result; the same command again goes on where it was stopped"""
    world: WorldName = "jargon"
    """generator of the problems and their solutions"""
    shares: str = "plain=1"
    """shares of the world's languages, for example plain=0.5,jargon=0.5"""
    late_shares: str | None = None
    """the same in the last quarter of the steps; as --shares if not given"""
    data: str | None = None
    """JSON Lines file of {"question": …, "solution": …} in place of a world"""
    prompt_template: str = "{question}"
    """the model is asked this"""
    steps: int = 80
    """steps, a batch each"""
    batch_size: int = 16
    """solutions a step"""
    learning_rate: float = 1e-4
    """of AdamW, after --warmup-steps, from where it falls to 0 along a cosine"""
    warmup_steps: int = 10
    """steps in which the learning rate rises"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """of matrix products and attention; bfloat16 is for GPUs, and for CPUs that compute in it"""
    save_every: int = 20
    """steps between saved states"""
    eval_problems: int = 100
    """problems of the world's validation split to measure the result on; 0 for none"""
    seed: int = 0
    """of all random numbers"""
    device: str = "auto"
    """cpu, cuda, mps, or auto"""

    def __post_init__(self):
        if self.senior is None:
            raise ValueError(
                "--senior is missing: give a checkpoint, a Hugging Face directory, a .gguf file, or smollm2"
            )
        for name in ("shares", "late_shares"):
            parse_shares(getattr(self, name) or self.shares, name, self.world)
        if min(self.steps, self.batch_size, self.save_every) < 1 or not 0 < self.learning_rate < 1:
            raise ValueError(
                "--steps, --batch-size and --save-every are at least 1, --learning-rate is between 0 and 1"
            )


def parse_shares(text: str, name: str, world: str) -> dict[str, float]:
    """plain=0.5,jargon=0.5 -> the shares by language. ValueError if one isn't the world's, or they don't add up to 1."""
    try:
        shares = {language: float(share) for language, share in (part.split("=") for part in text.split(","))}
    except ValueError:
        shares = {}
    if (
        not set(shares) <= set(WORLDS[world].languages)
        or min(shares.values(), default=-1) < 0
        or abs(sum(shares.values()) - 1) > 1e-6
    ):
        languages = ", ".join(WORLDS[world].languages)
        raise ValueError(
            f"--{name.replace('_', '-')} {text}: give shares that add up to 1, as plain=0.5,jargon=0.5, of {languages}"
        )
    return shares


def read_solution(row) -> tuple[str, str]:
    """(question, solution) of a line. ValueError if it has none."""
    pair = (row.get("question"), row.get("solution")) if isinstance(row, dict) else (None,)
    if not all(isinstance(text, str) for text in pair):
        raise ValueError('expected an object, {"question": "…", "solution": "…"}')
    return pair


def fine_tune(config: FineTuning) -> None:
    """Train a model on solutions, and write it to a new directory. Ctrl-C ends after a step, which is saved."""
    out, state, device = Path(config.out), Path(f"{config.out}.state.pt"), pick_device(config.device)
    if out.exists():
        raise UserError(f"{out} exists; give a new --out, or use it: python train.py --senior {out}")
    file_pairs = read_json_lines(config.data, read_solution) if config.data else None
    model, tokenizer = load_any(config.senior)
    check_export(model, out)
    model, done = model.to(device).train(), 0
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    out.parent.mkdir(parents=True, exist_ok=True)
    if state.exists():
        saved = read_file(state)
        if saved["options"] != asdict(config):
            raise UserError(f"{state} was begun with other options; give the same ones, or another --out")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        done = saved["step"]
    early = parse_shares(config.shares, "shares", config.world)
    late = parse_shares(config.late_shares or config.shares, "late_shares", config.world)
    stopped = []
    with contextlib.ExitStack() as held:
        on_signals(held, lambda number, _: stopped.append(number))
        bar = tqdm(range(done, config.steps), "supervised", initial=done, total=config.steps, unit="step")
        for step in bar:
            key = f"fine-tuning/{config.seed}/{step}"
            rng, shares = random.Random(key), late if step >= 0.75 * config.steps else early
            if file_pairs:
                pairs = epoch_batch(file_pairs, config.batch_size, config.seed, step)
            else:
                pairs = written(problems("train", key, config.world), rng, config.batch_size, shares)
            rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup_steps))
            rate *= 0.5 * (1 + math.cos(math.pi * step / config.steps))
            batch = solution_batch(pairs, tokenizer, config.prompt_template)  # (B, T) each
            loss = fit(model, optimizer, rate, *batch, config.precision)
            bar.set_postfix(loss=f"{loss:.3f}")
            if stopped or (step + 1) % config.save_every == 0:
                save_model(model, state, step=step + 1, optimizer=optimizer.state_dict(), options=asdict(config))
            if stopped:
                bar.close()
                print(f"stopped after {step + 1} steps, which are saved; the same command goes on")
                raise SystemExit(128 + stopped[0])
    model.eval()
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # it was killed while it wrote this
    save_pretrained(model, tokenizer, partial)
    partial.rename(out)
    state.unlink(missing_ok=True)
    print(f"wrote {out}: python train.py --senior {out} …")
    if config.eval_problems and not file_pairs:
        held_out = first_problems("validation", config.eval_problems, config.seed, config.world)
        longest = max(len(tokenizer.prompt(problem.question, config.prompt_template)) for problem in held_out)
        room = min(2 * WORLDS[config.world].max_new_tokens, model.config.max_seq_len - longest)
        sampling = Sampling(samples=1, max_new_tokens=room, prompt_template=config.prompt_template)
        with autocast(config.precision, model.device):
            accuracy, jargon = solo_accuracy(model, tokenizer, held_out, sampling)
        rate = "" if jargon is None else f", jargon in {jargon:.0%} of the responses"
        print(f"solo pass@1 {accuracy:.3f} on {config.eval_problems} problems{rate}")


@command
def main(argv: list[str]) -> None:
    fine_tune(parse(FineTuning, argv, __doc__))


if __name__ == "__main__":
    main()

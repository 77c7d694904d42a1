"""Supervised training of any model, on a world's solutions or on a file's.

    python -m support.models.fine_tune --senior smollm2 --shares plain=1 --out DIR

DIR is a directory that --senior and --junior take.
"""

import contextlib
import math
import random
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from data.problems import WORLDS, WorldName, epoch_batch, first_problems, problems
from evaluate import Sampling, solo_accuracy
from model import autocast
from support.models.base_pairs import fit, solution_batch, solved_problems
from support.models.pretrained import check_export, save_pretrained
from support.runs.devices import pick_device
from support.runs.files import read_torch, write_model
from support.runs.json_lines import read_json_lines
from support.runs.options import UserError, command, option, parse, quoted
from support.runs.pair import load_any
from support.runs.progress import progress
from support.runs.run import on_signals


@dataclass(frozen=True)
class FineTuning:
    senior: str | None = None
    """checkpoint, Hugging Face directory, GGUF file or name on the hub of the model to train, or
    smollm2"""
    out: str = "runs/fine-tuned"
    """new Hugging Face directory of the result;
    the same command again goes on where it was stopped"""
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
                "--senior is missing: give a checkpoint, a Hugging Face directory, a .gguf file, "
                "or smollm2"
            )
        for name in ("shares", "late_shares"):
            parse_shares(getattr(self, name) or self.shares, name, self.world)
        if min(self.steps, self.batch_size, self.save_every) < 1 or not 0 < self.learning_rate < 1:
            raise ValueError(
                "--steps, --batch-size and --save-every are at least 1, "
                "--learning-rate is between 0 and 1"
            )


def parse_shares(text: str, name: str, world: str) -> dict[str, float]:
    """plain=0.5,jargon=0.5 -> the shares by language.

    ValueError if a language isn't the world's, or the shares don't add up to 1.
    """
    languages = WORLDS[world].languages
    shares = {}
    try:
        for part in text.split(","):
            language, share = part.split("=")
            shares[language] = float(share)
    except ValueError:
        shares = {}
    known = set(shares) <= set(languages)
    positive = min(shares.values(), default=-1) >= 0
    if not known or not positive or abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(
            f"{option(name)} {text}: give shares that add up to 1, as plain=0.5,jargon=0.5, "
            f"of {', '.join(languages)}"
        )
    return shares


def read_solution(row) -> tuple[str, str]:
    """(question, solution) of a line. ValueError if it has none."""
    if isinstance(row, dict):
        question = row.get("question")
        solution = row.get("solution")
        if isinstance(question, str) and isinstance(solution, str):
            return question, solution
    raise ValueError('expected an object, {"question": "…", "solution": "…"}')


def fine_tune(config: FineTuning) -> None:
    """Train a model on solutions, and write it to a new directory.

    Ctrl-C ends the training after a step, which is saved.
    """
    out = Path(config.out)
    state = Path(f"{config.out}.state.pt")
    device = pick_device(config.device)
    if out.exists():
        raise UserError(
            f"{out} exists; give a new --out, or use it: python train.py --senior {quoted(out)}"
        )
    file_pairs = read_json_lines(config.data, read_solution) if config.data else None
    model, tokenizer = load_any(config.senior)
    check_export(model, out)
    model = model.to(device).train()
    done = 0
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    out.parent.mkdir(parents=True, exist_ok=True)
    if state.exists():
        saved = read_torch(state)
        if saved["options"] != asdict(config):
            raise UserError(
                f"{state} was begun with other options; give the same ones, or another --out"
            )
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        done = saved["step"]
    early = parse_shares(config.shares, "shares", config.world)
    late = parse_shares(config.late_shares or config.shares, "late_shares", config.world)
    stopped = []
    with contextlib.ExitStack() as to_close:
        on_signals(to_close, lambda number, _: stopped.append(number))
        remaining = range(done, config.steps)
        bar = progress(remaining, "supervised", initial=done, total=config.steps, unit="step")
        for step in bar:
            if file_pairs:
                pairs = epoch_batch(file_pairs, config.batch_size, config.seed, step)
            else:
                key = f"fine-tuning/{config.seed}/{step}"
                stream = problems("train", key, config.world)
                shares = late if step >= 0.75 * config.steps else early
                pairs = solved_problems(stream, random.Random(key), config.batch_size, shares)
            rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup_steps))
            rate *= 0.5 * (1 + math.cos(math.pi * step / config.steps))
            inputs, targets = solution_batch(pairs, tokenizer, config.prompt_template)  # (B, T)
            loss = fit(model, optimizer, rate, inputs, targets, config.precision)
            bar.set_postfix(loss=f"{loss:.3f}")
            if stopped or (step + 1) % config.save_every == 0:
                write_model(
                    model,
                    state,
                    step=step + 1,
                    optimizer=optimizer.state_dict(),
                    options=asdict(config),
                )
            if stopped:
                bar.close()
                print(f"stopped after {step + 1} steps, which are saved; the same command goes on")
                raise SystemExit(128 + stopped[0])
    model.eval()
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed while writing it
    save_pretrained(model, tokenizer, partial)
    partial.rename(out)
    state.unlink(missing_ok=True)
    print(f"wrote {out}: python train.py --senior {quoted(out)} …")
    if config.eval_problems and not file_pairs:
        print_accuracy(model, tokenizer, config)


def print_accuracy(model, tokenizer, config: FineTuning) -> None:
    """Measure the trained model on the world's validation split."""
    held_out = first_problems("validation", config.eval_problems, config.seed, config.world)
    template = config.prompt_template
    prompts = [tokenizer.prompt(problem.question, template) for problem in held_out]
    longest = max(len(prompt) for prompt in prompts)
    enough = 2 * WORLDS[config.world].max_new_tokens
    room = min(enough, model.config.max_seq_len - longest)
    sampling = Sampling(samples=1, max_new_tokens=room, prompt_template=template)
    with autocast(config.precision, model.device):
        accuracy, jargon = solo_accuracy(model, tokenizer, held_out, sampling)
    rate = "" if jargon is None else f", jargon in {jargon:.0%} of the responses"
    print(f"solo pass@1 {accuracy:.3f} on {config.eval_problems} problems{rate}")


@command
def main(argv: list[str]) -> None:
    fine_tune(parse(FineTuning, argv, __doc__))


if __name__ == "__main__":
    main()

"""Tandem RL from the first problem to the table of results. Start reading at `train`.

    python train.py                                    # tandem RL: the senior gives up its jargon, in minutes
    python train.py --schedule solo                    # the control: plain RL, the senior writes alone
    python train.py --objective grpo                   # the paper's clipped objective
    python train.py --resume runs/word                 # go on with a run that was stopped or killed, to the bit
    python train.py --pretrain                         # train the base pair again from nothing
    python train.py --world work                       # another world, once --pretrain --world work made its pair
    torchrun --nproc_per_node=2 train.py               # the same run on two GPUs, or in two processes

What happens to a batch is in trainer.py; here is the run around it: the pair, the measures before and after, the loop over
the steps, and what is kept of them on disk.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

import ranks
from cli import UserError, command, parse, say_device
from compare import table
from config import PRESET_HELP, Config
from data.foreign import save_tokenizer
from data.problems import Problem
from data.tokenizer import Tokenizer, load_tokenizer
from evaluate import Response, evaluate, sampling, show_responses
from model import save_model
from pretrain import pretrain
from pretrained import check_export, save_pretrained
from rollout import render
from runs import (
    GROWING,
    claimed,
    completed,
    continued,
    fingerprints,
    finishing_first,
    new_directory,
    problems_of,
    read_metrics,
    refuse_a_run,
    resumed_pair,
    says_how_to_go_on,
    starting_pair,
    weights_fingerprint,
    write_json,
)
from trainer import Batch, Trainer


def show_step(metrics: dict, batch: Batch, tokenizer: Tokenizer, color: bool) -> str:
    """A line for the reader's eyes: the first response of a batch, coloured by author, and what became of it."""
    text = render(batch.rollout, 0, tokenizer, color).replace("\n\n", " ¶ ")
    return f"step {metrics['step']:>4}  {'right' if batch.rewards[0] else 'wrong'}  {text}"


def show_metrics(metrics: dict) -> str:
    """What the progress bar says of a step."""
    jargon = "" if metrics["jargon_rate"] is None else f"jargon {metrics['jargon_rate']:.2f}, "
    return (
        f"reward {metrics['reward']:.2f}, {jargon}senior {metrics['senior_fraction']:.2f}, "
        f"loss {metrics['loss']:+.4f}, {metrics['tokens_per_second']:.0f} tokens/s"
    )


def set_up(config: Config, directory: Path | None) -> tuple[Trainer, list[Problem], str, dict | None]:
    """The trainer of a run, the problems to measure on, a note about these, and the state from which a run goes on."""
    senior, junior, tokenizer, state = resumed_pair(config, directory) if directory else (*starting_pair(config), None)
    if config.export:
        check_export(senior, config.export)
    problems, held_out, note = problems_of(config, config.eval_problems, tokenizer, senior, junior)
    device = ranks.pick_device(config.device)
    trainer = Trainer(config, senior.to(device), junior, tokenizer, problems)
    if state:
        trainer.load_state(state["trainer"])
    return trainer, held_out, note, state


def train(config: Config) -> Path:
    """A whole run, or the rest of one: measure, train, measure again. Returns the directory with everything in it."""
    color = sys.stdout.isatty()
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(claimed(Path(config.resume))) if config.resume else None
        trainer, held_out, note, state = set_up(config, out)
        senior, junior, tokenizer = trainer.senior, trainer.junior, trainer.tokenizer
        if not config.resume:  # nothing is written before all is known to be good
            out = stack.enter_context(claimed(new_directory(config.out, Path("runs") / config.schedule)))
            refuse_a_run(out)  # which another process may have begun and ended meanwhile
        stack.enter_context(says_how_to_go_on(out))

        write_json(out / "config.json", config.record())
        say_device(senior.device)
        print(note)
        print("senior in cyan, junior in yellow" if color else "what the junior wrote is in ⟦brackets⟧", end="")
        print(" (¶ is a blank line)")
        if state is None:
            save_model(junior, out / "junior.pt")  # as it was given: in float32
            if not tokenizer.same_as(load_tokenizer()):
                (out / "tokenizer").mkdir(exist_ok=True)
                save_tokenizer(tokenizer, out / "tokenizer")
        trainer.settle_junior()
        if state is None:
            before, responses = measure(trainer, held_out, "before")
            print(f"before\n{show_responses(responses, tokenizer, color)}\n")
            lengths = dict.fromkeys(GROWING, 0)
            known = fingerprints(config, out) | {"senior": weights_fingerprint(senior)}
            state = {"step": 0, "before": before, "lengths": lengths, "fingerprints": known}
        elif state["step"] < config.steps and (out / "eval.json").exists():  # it measured what the run then was
            (out / "eval.json").replace(out / f"eval-step-{state['step']}.json")
        go_on(trainer, state, held_out, out, color)

        after, responses = state["before"], None
        if config.steps > 0:
            after, responses = measure(trainer, held_out, "after")
        result = {"before": state["before"], "after": after, "problems": len(held_out), "samples": config.eval_samples}
        result |= {"config": config.record(), "fingerprints": state["fingerprints"]}
        write_json(out / "eval.json", result)
        if responses:
            print(f"\nafter\n{show_responses(responses, tokenizer, color)}")
        if config.export:
            save_pretrained(senior, tokenizer, config.export)
        columns = table({"before": [state["before"]], "after": [after]})
        print(f"\n{len(held_out)} test problems × {config.eval_samples} responses\n\n{columns}")
    return out


def follow(config: Config) -> None:
    """What the other ranks do meanwhile: their share of the measurements and of every step. They write no file."""
    trainer, held_out, _, state = set_up(config, Path(config.resume) if config.resume else None)
    trainer.settle_junior()
    if state is None:
        measure(trainer, held_out)
    with finishing_first() as asked:
        for *_, stop in steps(trainer, state["step"] if state else 0, held_out, asked):
            if stop:
                raise stop[0]
    if config.steps > 0:
        measure(trainer, held_out)


def measure(trainer: Trainer, held_out: list[Problem], label: str = "") -> tuple[dict, dict[str, list[Response]]]:
    """`evaluate` the trainer's pair as it is now."""
    how = sampling(trainer.config)
    return evaluate(trainer.senior, trainer.junior, held_out, trainer.tokenizer, how, label)


def steps(trainer: Trainer, first: int, held_out: list[Problem], asked: list) -> Iterator[tuple]:
    """What every rank does alike: (step, its metrics, batch, problems, measures along the way or None, who stops it)."""
    every = trainer.config.eval_every
    for step in range(first, trainer.config.steps):
        metrics, batch, problems = trainer.step(step)
        due = every is not None and (step + 1) % every == 0
        measures = measure(trainer, held_out, f"after step {step}")[0] if due else None
        # All stop after the same step, whichever was asked.
        yield step, metrics, batch, problems, measures, ranks.gather(list, asked)


def go_on(trainer: Trainer, state: dict, held_out: list[Problem], out: Path, color: bool) -> None:
    """The loop, from the step of `state` on. A checkpoint at every instant stands for all that was written before it."""
    config, tokenizer, first = trainer.config, trainer.tokenizer, state["step"]
    if config.steps > first and config.baseline in ("group", "rloo") and not config.kl_coef:
        print("the loss is near 0 by construction (advantages average 0): its gradient teaches; watch the reward")
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(finishing_first())
        files = {name: stack.enter_context(continued(out / name, state["lengths"][name])) for name in GROWING}

        def note(name: str, row: dict) -> None:
            files[name].write(json.dumps(row).encode() + b"\n")
            files[name].flush()

        def save(step: int) -> None:
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())
            if not all(parameter.isfinite().all() for parameter in trainer.senior.parameters()):
                raise FloatingPointError(f"after {step} steps: the senior's weights are not finite")
            save_model(
                trainer.senior,
                out / "checkpoint.pt",
                out / "previous.pt",
                step=step,
                options=config.record(),
                before=state["before"],
                lengths={name: file.tell() for name, file in files.items()},
                fingerprints=state["fingerprints"],
                trainer=trainer.state(),
            )

        if first == 0:
            if config.eval_every and not state["lengths"]["measures.jsonl"]:
                note("measures.jsonl", {"step": 0} | state["before"])
            save(0)
        name = "solo RL" if config.schedule == "solo" else "tandem RL"
        bar = stack.enter_context(tqdm(desc=name, unit="step", initial=first, total=config.steps))
        for step, metrics, batch, problems, measures, stop in steps(trainer, first, held_out, asked):
            bar.update()
            note("metrics.jsonl", metrics)
            if batch is not None:
                bar.set_postfix_str(show_metrics(metrics))
                if step % config.save_every == 0 or step == config.steps - 1:
                    tqdm.write(show_step(metrics, batch, tokenizer, color))
                    shown = f"{problems[0].question}\n{show_step(metrics, batch, tokenizer, False)}\n\n"
                    files["samples.txt"].write(shown.encode())
                if step == 4 and all(row["skipped_updates"] == config.mini_batches for row in read_metrics(out)):
                    tqdm.write(no_signal(metrics["reward"]))
            if measures is not None:
                note("measures.jsonl", {"step": step + 1} | measures)
            if (step + 1) % config.save_every == 0 or step == config.steps - 1 or stop:
                save(step + 1)
            if stop:
                raise stop[0]


def no_signal(reward_mean: float) -> str:
    """What to say when the first steps had no group with both right and wrong responses."""
    fate, remedy = (
        ("all wrong", "easier problems or a better senior") if reward_mean < 0.5 else ("all right", "harder problems")
    )
    return (
        f"warning: no learning signal: in 5 steps every group was of one kind, at last {fate}. Nothing is being trained. "
        f"Try {remedy}, a larger --group-size, a higher --temperature, or more --max-new-tokens"
    )


@command
def main(argv: list[str]) -> None:
    ranks.join()
    config = parse(Config, argv, f"{__doc__}\n{PRESET_HELP}", completed)
    started = time.perf_counter()
    if config.pretrain:
        if ranks.size() > 1:
            raise UserError("--pretrain is one process's work; start it without torchrun")
        device = ranks.pick_device(config.device)
        directory = new_directory(config.out or f"runs/base-{config.world}", Path(), but="senior.pt")
        with claimed(directory) as out:
            say_device(device)
            return pretrain(out, config.seed, device, load_tokenizer(), config.world)
    if ranks.rank() > 0:
        follow(config)
    else:
        out = train(config)
        print(
            f"\n{time.perf_counter() - started:.0f} s; everything is in {out}: python rollout.py {out} shows more of it"
        )
    ranks.leave()


if __name__ == "__main__":
    main()

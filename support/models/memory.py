"""How much memory a run takes, before anything is loaded.

python -m support.models.memory                            # the default run
python -m support.models.memory MODEL --precision bfloat16 # a Hugging Face directory or its config.json alone, as the senior
python -m support.models.memory MODEL --json               # for programs; all of train.py's options apply

Computed from the shapes of all tensors, at the longest: every response has --max-new-tokens, and every prompt
--max-prompt-tokens, or what the world's have, or 256. A GPU needs some 0.6 GB more for CUDA itself, and some room
between tensors.
"""

import dataclasses
import functools
import json
from pathlib import Path

from data.problems import WORLDS
from model import GPTConfig
from rollout import MAX_LOGITS
from support.fast_engine import GROWTH
from support.models.pretrained import directory_config
from support.runs.files import read_model
from support.runs.options import UserError, command, option, parse
from support.runs.pair import base_directory

CARDS = (16, 24, 40, 48, 80, 141)  # GB of GPUs that are usual
CUDA = 0.6e9  # bytes
SAVINGS = {  # options that need less, with a value to try
    "precision": lambda config: "bfloat16",
    "checkpoint_activations": lambda config: True,
    "offload_optimizer": lambda config: True,
    "micro_batch_tokens": lambda config: max(1, config.micro_batch_tokens // 2),
    "rollout_batch_size": lambda config: max(1, min(config.rollout_batch_size, rows(config)) // 2),
}


def phases(senior: GPTConfig, junior: GPTConfig, config) -> dict[str, dict[str, float]]:
    """Bytes of each part in every phase of a run: rollout, update, step (of the optimizer), evaluate."""
    prompt = config.max_prompt_tokens or (
        256 if config.data else WORLDS[config.world].max_prompt_tokens
    )
    low = config.precision == "bfloat16"
    always = {"senior": 4 * parameters(senior), "junior": (2 if low else 4) * parameters(junior)}
    if low and config.senior is None:  # its embedding was never in bfloat16
        always["junior"] += 4 * junior.vocab_size * junior.d_model
    moments = {"moments": 0 if config.offload_optimizer else 8 * parameters(senior)}
    gradients = {"gradients": 4 * parameters(senior)}
    copies = {"copies": 2 * parameters(senior) if low else 0}  # autocast's, in bfloat16
    largest = {
        "moments": 8 * max(senior.vocab_size, 2 * senior.d_ff) * senior.d_model
    }  # one at a time
    writers = [senior] if config.schedule == "solo" else [senior, junior]
    both, N = [senior, junior], config.prompts_per_step * config.group_size
    measured = config.eval_problems * config.eval_samples
    return {
        "rollout": always
        | moments
        | copies
        | writing(writers, N, config.group_size, prompt, config),
        "update": always | moments | copies | reading(senior, prompt, config),
        "step": always | gradients | (largest if config.offload_optimizer else moments),
        "evaluate": always
        | moments
        | copies
        | comparing(both, measured, config.eval_samples, prompt, config),
    }


def parameters(c: GPTConfig) -> int:
    heads = (c.n_heads + 2 * c.n_kv_heads) * c.head_dim
    layer = (heads + c.n_heads * c.head_dim + 3 * c.d_ff + 2) * c.d_model
    layer += (heads if c.qkv_bias else 0) + (2 * c.head_dim if c.qk_norm else 0)
    return (
        c.n_layers * layer + c.d_model + (1 if c.tie_embeddings else 2) * c.vocab_size * c.d_model
    )


def rows(config) -> int:
    """Most responses of a step or a measurement."""
    return max(
        config.prompts_per_step * config.group_size, config.eval_problems * config.eval_samples
    )


def writing(models: list[GPTConfig], N: int, group: int, prompt: int, config) -> dict[str, float]:
    """Of N responses, `group` to a prompt: the caches when they are full, and what a token's logits become."""
    width, new = width_of(config), config.max_new_tokens
    B = min(N, config.rollout_batch_size)
    group = next(n for n in (4, 2, 1) if group % n == 0)  # as `prefill` does it
    if new <= max(prompt, GROWTH // group):  # `KVCache.read`: later each has slots of its own
        slots = B // group * (prompt + group * new)
    else:
        slots, group = B * (prompt + new), 1
    caches = sum(2 * c.n_layers * c.n_kv_heads * c.head_dim * width * slots for c in models)
    masks = sum(group * c.n_heads // c.n_kv_heads * width * slots for c in models)
    logits = (
        B * models[0].vocab_size * (len(models) * (width + 4) + 12)
    )  # with their logs, probabilities and sums
    return {"caches": caches + masks, "logits": logits}


def reading(c: GPTConfig, prompt: int, config) -> dict[str, float]:
    """Of a micro-batch: what is kept for the gradient, what the last layers' needs beside it, and those before it."""
    width, new, G = width_of(config), config.max_new_tokens, config.group_size
    whole = prompt + G * new  # tokens of a group
    most = config.prompts_per_step // config.mini_batches
    D = min(most, config.micro_batch_tokens // whole)  # whole groups, then as many rows as fit
    more = 0
    if D < most:
        more = max(config.micro_batch_tokens - D * whole - prompt, 0) // new
        more = max(more, 1) if D == 0 else more
    n, D = D * G + more, D + (more > 0)
    M, trained = (
        D * prompt + n * new,
        n * new * (1 if config.schedule == "solo" else config.p_senior),
    )
    H, KV, C, hd = c.n_heads, c.n_kv_heads, c.d_model, c.head_dim
    heads = 3 * H * hd * width  # queries, and what attention gives, twice
    if c.qk_norm:
        heads += (H + KV) * hd * 8 + (KV * hd * 4 if width == 4 else 0)
    layer = M * (
        16 * C + 2 * C * width + heads + 4 * c.d_ff * width
    )  # 16: two states and their norms
    layer += (
        2 * KV * hd * width * (n * (prompt + new) + D * prompt)
    )  # keys and values; a response has its prompt's
    masks = H // KV * width * (D * prompt**2 + n * new * (prompt + new))
    logits = 12 * min(trained * c.vocab_size, MAX_LOGITS)  # with their logs and gradient
    head = 4 * c.vocab_size * C + logits / 3  # the gradient of its weight
    last = passing(c, width) * M
    earlier = {"gradients": 4 * parameters(c) if n < most * G else 0}  # of the micro-batches before
    if config.checkpoint_activations:  # the states between layers, and one layer again
        return earlier | {
            "activations": 4 * C * M * c.n_layers + masks,
            "logits": max(logits, head, layer + last / 2),
        }
    return earlier | {"activations": layer * c.n_layers + masks, "logits": max(logits, head, last)}


def comparing(models: list[GPTConfig], N: int, group: int, prompt: int, config) -> dict[str, float]:
    """Of a measurement, the larger: responses being written, or the two models' logits on them."""
    written, width = writing(models, N, group, prompt, config), width_of(config)
    B, new, V = min(N, config.rollout_batch_size), config.max_new_tokens, models[0].vocab_size
    states = sum(4 * c.d_model for c in models) * B * new
    passes = max(passing(c, width) for c in models) * B * (prompt / group + new)
    compared = states + max(passes, 4 * 8 * min(B * new * V, MAX_LOGITS))
    return (
        written
        if sum(written.values()) > compared
        else {"states": states, "logits": compared - states}
    )


def passing(c: GPTConfig, width: int) -> int:
    """Bytes a token of what is alive within a layer, and gone behind it."""
    return 12 * c.d_model + 4 * c.d_ff * width


def width_of(config) -> int:
    return 2 if config.precision == "bfloat16" else 4


def totals(senior: GPTConfig, junior: GPTConfig, config) -> dict[str, float]:
    """GB of each phase and of the largest."""
    found = {
        name: sum(parts.values()) / 1e9 for name, parts in phases(senior, junior, config).items()
    }
    found["update"] = max(found["update"], found.pop("step"))
    return {f"{name}_gb": value for name, value in found.items()} | {"peak_gb": max(found.values())}


def card(gb: float) -> int | None:
    """The smallest usual card that holds so many GB and CUDA itself."""
    return next((size for size in CARDS if gb + CUDA / 1e9 <= size), None)


def best_saving(senior: GPTConfig, junior: GPTConfig, config) -> tuple[str, float]:
    """The option that lowers the peak the most, with its value, and the GB that it saves."""
    now, found = totals(senior, junior, config)["peak_gb"], []
    for name, value in SAVINGS.items():
        other = dataclasses.replace(config, **{name: value(config)})
        found.append(
            (
                now - totals(senior, junior, other)["peak_gb"],
                f"{option(name)} {value(config)}".lower(),
            )
        )
    saved, name = max(found)
    return name, saved


def summary(senior: GPTConfig, junior: GPTConfig, config) -> str:
    """One line: every phase, the card, and what would save most."""
    found = totals(senior, junior, config)
    parts = ", ".join(f"{name.removesuffix('_gb')} {gb:.1f}" for name, gb in found.items())
    size, (name, saved) = card(found["peak_gb"]), best_saving(senior, junior, config)
    fits = f"a card of {size} GB holds it" if size else "no usual card holds it"
    return f"memory, computed, in GB: {parts}; {fits}; {name} would save {saved:.1f}"


def configs(config) -> tuple[GPTConfig, GPTConfig]:
    """The architectures of a run's senior and junior. Only configuration files are read, and our small checkpoints."""

    def one(path: str | Path) -> GPTConfig:
        path = Path(path)
        if path.suffix == ".pt":
            return read_model(path).config
        if path.suffix == ".json" or path.is_dir():
            return directory_config(path if path.suffix == ".json" else path / "config.json")
        raise UserError(
            f"{path} says nothing of its shape; give a Hugging Face directory or its config.json alone"
        )

    base = base_directory(config.world)
    senior = one(config.senior or base / "senior.pt")
    alone = config.senior or WORLDS[config.world].unfamiliar is None  # without a junior of its own
    if config.junior == "self" or (config.junior is None and alone):
        return senior, senior
    return senior, one(config.junior or base / "junior.pt")


def report(config_class: type, argv: list[str]) -> None:
    """The command. The options are those of train.py's Config, which comes from there: support is below train."""
    if argv and not argv[0].startswith("-"):
        argv = ["--senior", *argv]
    as_json, argv = "--json" in argv, [word for word in argv if word != "--json"]
    config = parse(config_class, argv, __doc__)
    senior, junior = configs(config)
    found, parts = totals(senior, junior, config), phases(senior, junior, config)
    if as_json:
        name, saved = best_saving(senior, junior, config)
        found |= {
            "card_gb": card(found["peak_gb"]),
            "saving_option": name,
            "saving_gb": saved,
            "phases": parts,
        }
        print(json.dumps(found, indent=2))
        return
    for phase, sizes in parts.items():
        said = ", ".join(f"{part} {size / 1e9:.2f}" for part, size in sizes.items())
        print(f"{phase:9} {sum(sizes.values()) / 1e9:7.2f} GB: {said}")
    print(summary(senior, junior, config))


if __name__ == "__main__":
    from train import Config

    command(functools.partial(report, Config))()

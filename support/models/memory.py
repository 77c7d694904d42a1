"""How much memory a run takes, before anything is loaded.

python -m support.models.memory                            # the default run
python -m support.models.memory MODEL --precision bfloat16 # a senior of other people's
python -m support.models.memory MODEL --json               # for programs

MODEL is a Hugging Face directory, its config.json alone, or a name on the hub, of which only
config.json is fetched. All of train.py's options apply.

Computed from the shapes of all tensors, at the longest: every response has --max-new-tokens, and
every prompt has --max-prompt-tokens. If that isn't given, prompts are as long as the world's may
be, or 256 for a file's. A GPU needs some 0.6 GB more for CUDA itself, and some room between the
tensors.
"""

import dataclasses
import functools
import json
import sys
from pathlib import Path

from data.problems import WORLDS
from model import GPTConfig
from rollout import MAX_LOGITS
from support.fast_engine import GROWTH
from support.models.hub import fetch, is_hub_name
from support.models.pretrained import directory_config
from support.runs.files import read_model
from support.runs.options import UserError, command, option, parse
from support.runs.pair import base_directory, model_names

CARDS = (16, 24, 40, 48, 80, 141)  # GB of usual GPUs
CUDA = 0.6e9  # bytes
SAVINGS = {  # options that need less, with a value to try
    "precision": lambda config: "bfloat16",
    "checkpoint_activations": lambda config: True,
    "offload_optimizer": lambda config: True,
    "micro_batch_tokens": lambda config: max(1, config.micro_batch_tokens // 2),
    "rollout_batch_size": lambda config: max(1, rows_at_a_time(config) // 2),
}
FLOAT32 = 4  # bytes


def phases(senior: GPTConfig, junior: GPTConfig, config) -> dict[str, dict[str, float]]:
    """Bytes of each part in every phase of a run: rollout, update, step, evaluate.

    `step` is the optimizer's.
    """
    weights = parameters(senior)
    low = config.precision == "bfloat16"
    always = {
        "senior": FLOAT32 * weights,
        "junior": bytes_a_number(config) * parameters(junior),
    }
    for name in model_names(config)[2:]:  # of a fork's other options
        always[name] = bytes_a_number(config) * parameters(architecture(getattr(config, name)))
    if low and config.senior is None:
        # The embedding of a junior of ours was never in bfloat16.
        always["junior"] += FLOAT32 * junior.vocab_size * junior.d_model
    moments = 2 * FLOAT32 * weights
    copies = 2 * weights if low else 0  # autocast's, in bfloat16
    waiting = 0 if config.offload_optimizer else moments
    between_steps = always | {"moments": waiting, "copies": copies}
    stepping = moments
    if config.offload_optimizer:  # the moments of one matrix at a time
        largest = max(senior.vocab_size, 2 * senior.d_ff) * senior.d_model
        stepping = 2 * FLOAT32 * largest
    return {
        "rollout": between_steps | rollout_memory(senior, junior, config),
        "update": between_steps | update_memory(senior, config),
        "step": always | {"gradients": FLOAT32 * weights, "moments": stepping},
        "evaluate": between_steps | evaluation_memory(senior, junior, config),
    }


def parameters(c: GPTConfig) -> int:
    """The number of a model's weights."""
    q = c.n_heads * c.head_dim
    kv = c.n_kv_heads * c.head_dim
    qkv = q + 2 * kv
    mlp = 3 * c.d_ff
    norms = 2
    layer = (qkv + q + mlp + norms) * c.d_model
    if c.qkv_bias:
        layer += qkv
    if c.qk_norm:
        layer += 2 * c.head_dim
    embedding = c.vocab_size * c.d_model
    matrices = 1 if c.tie_embeddings else 2  # the embedding and the head
    return c.n_layers * layer + c.d_model + matrices * embedding


def prompt_tokens(config) -> int:
    """The tokens of the longest prompt."""
    if config.max_prompt_tokens:
        return config.max_prompt_tokens
    return 256 if config.data else WORLDS[config.world].max_prompt_tokens


def rows_at_a_time(config) -> int:
    """The most responses that a step or a measurement writes at a time."""
    of_step = config.prompts_per_step * config.group_size
    measured = config.eval_problems * config.eval_samples
    return min(config.rollout_batch_size, max(of_step, measured))


def bytes_a_number(config) -> int:
    """In the precision of matrix products and attention."""
    return 2 if config.precision == "bfloat16" else FLOAT32


def rollout_memory(senior: GPTConfig, junior: GPTConfig, config) -> dict[str, float]:
    """Bytes while a step's responses are written."""
    models = [senior] if config.schedule == "solo" else [senior, junior]
    N = config.prompts_per_step * config.group_size
    return writing_memory(models, N, config.group_size, config)


def writing_memory(models: list[GPTConfig], N: int, group: int, config) -> dict[str, float]:
    """Bytes while N responses are written, `group` to a prompt: the full caches, and the logits."""
    width = bytes_a_number(config)
    prompt = prompt_tokens(config)
    new = config.max_new_tokens
    B = min(N, config.rollout_batch_size)
    texts = next(n for n in (4, 2, 1) if group % n == 0)  # of a cache's row: see `prefill`
    if new <= max(prompt, GROWTH // texts):
        slots = B // texts * (prompt + texts * new)
    else:  # by now each text has a row of its own (`KVCache.read`)
        texts = 1
        slots = B * (prompt + new)
    caches = 0
    for c in models:
        keys_and_values = 2 * c.n_layers * c.n_kv_heads * c.head_dim
        mask = texts * c.n_heads // c.n_kv_heads
        caches += (keys_and_values + mask) * width * slots
    # A token's logits and their logs of each model; probabilities, their sums and their order.
    bytes_a_logit = len(models) * (width + FLOAT32) + 3 * FLOAT32
    logits = B * models[0].vocab_size * bytes_a_logit
    return {"caches": caches, "logits": logits}


def update_memory(c: GPTConfig, config) -> dict[str, float]:
    """Bytes while a micro-batch is read.

    `activations` are kept for the gradient. `logits` is the most that is needed beside them.
    """
    width = bytes_a_number(config)
    prompt = prompt_tokens(config)
    new = config.max_new_tokens
    D, n = largest_micro_batch(prompt, config)  # prompts, responses
    M = D * prompt + n * new  # tokens
    layer = kept_in_a_layer(c, D, n, M, prompt, config)
    queries_a_key = c.n_heads // c.n_kv_heads
    of_prompts = D * prompt**2
    of_responses = n * new * (prompt + new)
    masks = queries_a_key * width * (of_prompts + of_responses)
    trained = n * new * (1 if config.schedule == "solo" else config.p_senior)  # tokens
    # The trained tokens' logits, their logs and their gradient.
    logits = 3 * FLOAT32 * min(trained * c.vocab_size, MAX_LOGITS)
    head = FLOAT32 * c.vocab_size * c.d_model + logits / 3  # the gradient of the head's weight
    last = within_a_layer(c, width) * M

    found = {}
    responses = config.prompts_per_step // config.mini_batches * config.group_size
    earlier = n < responses  # there were micro-batches before
    found["gradients"] = FLOAT32 * parameters(c) if earlier else 0
    if config.checkpoint_activations:  # the states between layers, and one layer again
        states = FLOAT32 * c.d_model * M * c.n_layers
        found["activations"] = states + masks
        found["logits"] = max(logits, head, layer + last / 2)
    else:
        found["activations"] = layer * c.n_layers + masks
        found["logits"] = max(logits, head, last)
    return found


def largest_micro_batch(prompt: int, config) -> tuple[int, int]:
    """The numbers of prompts and of responses in it: whole groups, then as many rows as fit."""
    G = config.group_size
    new = config.max_new_tokens
    whole = prompt + G * new  # tokens of a group
    most = config.prompts_per_step // config.mini_batches
    groups = min(most, config.micro_batch_tokens // whole)
    if groups == most:
        return groups, groups * G
    room = config.micro_batch_tokens - groups * whole
    rows = max(room - prompt, 0) // new
    if groups == 0:
        rows = max(rows, 1)
    prompts = groups + 1 if rows > 0 else groups
    return prompts, groups * G + rows


def kept_in_a_layer(c: GPTConfig, D: int, n: int, M: int, prompt: int, config) -> int:
    """Bytes that one layer keeps for the gradient of M tokens, of D prompts and n responses."""
    width = bytes_a_number(config)
    H = c.n_heads
    KV = c.n_kv_heads
    hd = c.head_dim
    C = c.d_model
    states_and_norms = 4 * FLOAT32 * C + 2 * C * width  # two states and their norms
    queries = 3 * H * hd * width  # and what attention gives, twice
    if c.qk_norm:
        queries += (H + KV) * hd * 2 * FLOAT32
        if width == FLOAT32:
            queries += KV * hd * FLOAT32
    mlp = 4 * c.d_ff * width
    # A response has a copy of its prompt's keys and values.
    slots = n * (prompt + config.max_new_tokens) + D * prompt
    keys_and_values = 2 * KV * hd * width * slots
    return M * (states_and_norms + queries + mlp) + keys_and_values


def evaluation_memory(senior: GPTConfig, junior: GPTConfig, config) -> dict[str, float]:
    """Bytes of a measurement: while responses are written, or while both models read them.

    The larger of the two counts.
    """
    models = [senior, junior]
    samples = config.eval_samples
    N = config.eval_problems * samples
    writing = writing_memory(models, N, samples, config)
    width = bytes_a_number(config)
    B = min(N, config.rollout_batch_size)
    new = config.max_new_tokens
    states = sum(FLOAT32 * c.d_model for c in models) * B * new
    a_token = max(within_a_layer(c, width) for c in models)
    passes = a_token * B * (prompt_tokens(config) / samples + new)
    logits = 8 * FLOAT32 * min(B * new * senior.vocab_size, MAX_LOGITS)
    comparing = states + max(passes, logits)
    if sum(writing.values()) > comparing:
        return writing
    return {"states": states, "logits": comparing - states}


def within_a_layer(c: GPTConfig, width: int) -> int:
    """Bytes a token of the tensors that are alive within a layer, and gone behind it."""
    return 3 * FLOAT32 * c.d_model + 4 * c.d_ff * width


def totals(senior: GPTConfig, junior: GPTConfig, config) -> dict[str, float]:
    """GB of each phase and of the largest."""
    found = {}
    for name, parts in phases(senior, junior, config).items():
        found[name] = sum(parts.values()) / 1e9
    found["update"] = max(found["update"], found.pop("step"))
    named = {f"{name}_gb": gb for name, gb in found.items()}
    return named | {"peak_gb": max(found.values())}


def card(gb: float) -> int | None:
    """The smallest usual card with room for `gb` GB and CUDA itself."""
    return next((size for size in CARDS if gb + CUDA / 1e9 <= size), None)


def best_saving(senior: GPTConfig, junior: GPTConfig, config) -> tuple[str, float]:
    """The option that lowers the peak the most, with its value, and the GB that it saves."""
    now = totals(senior, junior, config)["peak_gb"]
    found = []
    for name, value_of in SAVINGS.items():
        value = value_of(config)
        other = dataclasses.replace(config, **{name: value})
        saved = now - totals(senior, junior, other)["peak_gb"]
        found.append((saved, f"{option(name)} {value}".lower()))
    saved, name = max(found)
    return name, saved


def memory_line(senior: GPTConfig, junior: GPTConfig, config) -> str:
    """One line: every phase, the card, and the option that would save most."""
    found = totals(senior, junior, config)
    unit, scale = shown_unit(found["peak_gb"])
    scale /= 1e9  # GB of a unit
    parts = [f"{name.removesuffix('_gb')} {gb / scale:.1f}" for name, gb in found.items()]
    size = card(found["peak_gb"])
    fits = f"a card of {size} GB holds it" if size else "no usual card holds it"
    name, saved = best_saving(senior, junior, config)
    saving = f"{name} would save {saved / scale:.1f}"
    return f"memory, computed, in {unit}: {', '.join(parts)}; {fits}; {saving}"


def shown_unit(peak: float) -> tuple[str, float]:
    """The unit in which a run of this peak, in GB, is shown, and its bytes."""
    return ("MB", 1e6) if peak < 1 else ("GB", 1e9)


def configs(config) -> tuple[GPTConfig, GPTConfig]:
    """The architectures of a run's senior and junior.

    Only configuration files are read, and our small checkpoints.
    """
    base = base_directory(config.world)
    senior = architecture(config.senior or base / "senior.pt")
    junior = config.junior
    has_none = config.senior or WORLDS[config.world].unfamiliar is None  # no junior of its own
    if junior is None:
        junior = "self" if has_none else base / "junior.pt"
    if junior == "self":
        return senior, senior
    return senior, architecture(junior)


@functools.lru_cache
def architecture(path: str | Path) -> GPTConfig:
    """The architecture of a model, a Hugging Face directory, its config.json, or a hub's name."""
    path = Path(path)
    if is_hub_name(path):
        path = fetch(path.as_posix(), ("config.json",))
    if path.suffix == ".pt":
        return read_model(path).config
    if path.suffix == ".json":
        return directory_config(path)
    if path.is_dir():
        return directory_config(path / "config.json")
    raise UserError(
        f"{path} says nothing of its shape; give a Hugging Face directory or its config.json alone"
    )


def print_memory(config_class: type, argv: list[str]) -> None:
    """The command. `config_class` is train.py's Config: support is below train."""
    if argv and not argv[0].startswith("-"):
        argv = ["--senior", *argv]
    as_json = "--json" in argv
    argv = [word for word in argv if word != "--json"]
    config = parse(config_class, argv, __doc__)
    senior, junior = configs(config)
    parts = phases(senior, junior, config)
    if as_json:
        found = totals(senior, junior, config)
        name, saved = best_saving(senior, junior, config)
        found["card_gb"] = card(found["peak_gb"])
        found["saving_option"] = name
        found["saving_gb"] = saved
        found["phases"] = parts
        print(json.dumps(found, indent=2))
        return
    unit, scale = shown_unit(totals(senior, junior, config)["peak_gb"])
    for phase, sizes in parts.items():
        shown = ", ".join(f"{part} {size / scale:.2f}" for part, size in sizes.items())
        print(f"{phase:9} {sum(sizes.values()) / scale:7.2f} {unit}: {shown}")
    print(memory_line(senior, junior, config))


if __name__ == "__main__":
    from train import Config

    sys.argv[0] = "python -m support.models.memory [MODEL] [--json]"  # as its --help shows it
    command(functools.partial(print_memory, Config))()

"""Everything that a run depends on: the options of `python train.py`, their defaults, and what can't be combined."""

from dataclasses import asdict, dataclass
from typing import Literal

from cli import check_types
from data.problems import WORLDS, WorldName
from tandem import Baseline, Schedule

# What a run computes doesn't depend on these, apart from rounding, and from what on_nonfinite skip drops.
_FREE = "save_every eval_every device on_nonfinite checkpoint_activations export".split()
# When a run is resumed: steps may only grow, and data and test_data must hold what they held.
MAY_CHANGE = [*_FREE, "steps", "data", "test_data"]
# What runs of one configuration may differ in, when they are compared; the last two change rounding alone.
ASIDE = [*_FREE, "preset", "out", "resume", "rollout_rows", "micro_tokens"]

BOXED = "{question} Put the final answer in \\boxed{}."
# What --preset stands for; what the command line gives overrides it. Clip and mini-batches follow from grpo.
PRESETS = {
    "laptop": {},
    "gpu": dict(
        world="hard",
        steps=500,
        prompts=64,
        group_size=16,
        learning_rate=1e-4,
        precision="bfloat16",
        micro_tokens=32768,
        eval_problems=500,
    ),
    "smollm2": dict(
        senior="smollm2",
        junior="self",
        prompt_template=BOXED,
        max_prompt_tokens=512,
        steps=200,
        max_new_tokens=256,
        learning_rate=1e-5,
        precision="bfloat16",
        micro_tokens=8192,
    ),
    "paper": dict(
        junior="self",
        prompt_template=BOXED,
        max_prompt_tokens=1024,
        steps=200,
        max_new_tokens=3000,
        temperature=0.6,
        objective="grpo",
        learning_rate=1e-6,
        precision="bfloat16",
        checkpoint_activations=True,
        micro_tokens=8192,
        rollout_rows=43,
        eval_samples=8,
    ),
}
PRESET_HELP = """presets (what a GPU needs is computed, and was not measured):
    laptop     the defaults, with the shipped pair: 0.8 GB and 2 minutes on 2 cores
    gpu        a pair of your own of about 25 and 8 million parameters: a card of 12 GB
    smollm2    SmolLM2-135M and a frozen copy, on your --data: a card of 24 GB
    paper      the paper's settings, for a --senior of Qwen3-4B's size and your --data: a card of 141 GB; the senior's
               weights, gradients and Adam's moments alone take 64
"""


@dataclass
class Config:
    """Everything that a run depends on."""

    preset: Literal["laptop", "gpu", "smollm2", "paper"] = "laptop"
    """values for the other options on a command line (see above); options that are given there override them"""

    schedule: Schedule = "word"
    """who writes the next token: word (the paper's), token, step, chunk, alternate, or solo, the control"""
    p_senior: float = 0.5
    """probability that a draw of the author picks the senior (word, token)"""
    max_gap: int = 32
    """tokens after which word draws again although no new word began"""
    chunk: int = 16
    """tokens a turn (chunk)"""
    senior: str | None = None
    """checkpoint, Hugging Face directory or GGUF file of the senior, or smollm2; the world's if not given"""
    junior: str | None = None
    """the same of the junior, or self: a frozen copy of the senior; the world's if not given (phrasings: self)"""

    world: WorldName = "jargon"
    """generator of the problems, and its base pair: shipped for jargon, else in runs/base-WORLD (--pretrain)"""
    data: str | None = None
    """JSON Lines file of problems, {"question": …, "answer": …} each; the world's own if not given"""
    test_data: str | None = None
    """file of the problems to measure on; if not given, a tenth of --data is held out"""
    prompt_template: str | None = None
    """what is asked, with {question} in it: '{question} Put the final answer in \\boxed{}.'; the question, if not given"""
    max_prompt_tokens: int | None = None
    """leave out the problems of --data with longer prompts; if not given, one too long for the context is an error"""

    steps: int = 250
    """RL steps, a batch of rollouts each; 0 only measures the pair"""
    prompts: int = 16
    """problems a step"""
    group_size: int = 8
    """rollouts a problem, G"""
    max_new_tokens: int | None = None
    """tokens a response may have; as the world's solutions need (jargon, work: 64) if not given"""
    temperature: float = 1.0
    """of both models while training; the loss sees the same distribution"""

    objective: Literal["reinforce", "grpo"] = "reinforce"
    """reinforce: -A·log π; grpo: the clipped ratio, on normalized advantages, in two mini-batches"""
    baseline: Baseline = "group"
    """what a reward is compared with: its group's mean, the mean of the others in it, a running mean, nothing"""
    normalize_std: bool | None = None
    """divide advantages by their group's standard deviation; true for grpo if not given"""
    clip: float | None = None
    """ε of the clipped ratio (grpo alone); 0.2 if not given"""
    mini_batches: int | None = None
    """optimizer steps a batch; 2 for grpo, else 1, if not given"""
    junior_weight: float = 0.0
    """weight of the junior's tokens in the loss, λ; 0 is the paper's"""
    kl_coef: float = 0.0
    """weight of a penalty on KL(senior‖junior) a token: the kl_reg control, with --schedule solo"""
    kl_estimator: Literal["k3", "exact"] = "exact"
    """k3 sees the sampled token alone; exact the whole vocabulary"""

    learning_rate: float = 2e-4
    """AdamW's, constant after the warm-up"""
    warmup: int = 10
    """steps over which the learning rate rises to its value"""
    weight_decay: float = 0.0
    """AdamW's"""
    grad_clip: float = 1.0
    """largest norm of the gradient"""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """at a loss, gradient or logit that is NaN or infinite: stop, or drop the update (three in a row stop)"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """of matrix products and attention; bfloat16 is for GPUs (what is trained stays float32; see update_ratio_error)"""
    checkpoint_activations: bool = False
    """an update keeps a state a layer and computes the rest again: much less memory, a third more work"""
    micro_tokens: int = 4096
    """tokens, padding included, that an update reads at a time; less takes less memory, for the same gradient"""
    rollout_rows: int = 512
    """responses that are written at a time; less takes less memory, for the same responses"""

    eval_problems: int = 100
    """test problems measured before and after"""
    eval_samples: int = 4
    """responses to each of them"""
    eval_temperature: float = 0.7
    """of both models while measuring"""
    eval_every: int | None = None
    """measure every so many steps too, into measures.jsonl; it changes nothing of the run; not at all if not given"""

    seed: int = 0
    """of everything random"""
    out: str | None = None
    """directory of the run; runs/SCHEDULE if not given, or the first of runs/SCHEDULE-2, -3 … that is free"""
    resume: str | None = None
    """directory of a run to go on with; its options hold, but for more steps and what doesn't change what is computed"""
    export: str | None = None
    """new directory for the trained senior in Hugging Face's form, which transformers loads"""
    save_every: int = 20
    """steps between checkpoints, and between the co-written responses that are shown"""
    device: str = "auto"
    """auto (CUDA, then MPS, then the CPU), cuda, mps or cpu"""
    pretrain: bool = False
    """train the world's supervised base pair instead, into --out (runs/base-WORLD if not given); of the rest
    --seed and --device count"""

    def __post_init__(self):
        check_types(self)
        for name in {"smollm2": ["data"], "paper": ["senior", "data"]}.get(self.preset, []):
            if getattr(self, name) is None:
                what = {"data": "a file of problems", "senior": "a model, such as Qwen3-4B's directory"}[name]
                raise ValueError(f"--preset {self.preset} brings no --{name}; give {what}")
        if self.max_new_tokens is None:
            self.max_new_tokens = WORLDS[self.world].max_new_tokens
        grpo = self.objective == "grpo"
        if self.clip is not None and not grpo:
            raise ValueError("--clip belongs to --objective grpo; reinforce has no ratio to clip")
        self.normalize_std = grpo if self.normalize_std is None else self.normalize_std
        self.mini_batches = (2 if grpo else 1) if self.mini_batches is None else self.mini_batches
        self.clip = (0.2 if grpo else None) if self.clip is None else self.clip
        at_least_1 = "max_gap chunk prompts group_size max_new_tokens mini_batches eval_problems eval_samples"
        for name in [*at_least_1.split(), "micro_tokens", "rollout_rows", "save_every"]:
            _require(getattr(self, name) >= 1, name, "at least 1", self)
        _require(self.steps >= 0, "steps", "at least 0, which only measures", self)
        if self.prompt_template is not None and "{question}" not in self.prompt_template:
            raise ValueError("--prompt-template has no {question} in it, where the question is put; write it there")
        if self.data is not None and self.world != "jargon":
            raise ValueError(f"--world {self.world} generates problems, --data has its own; leave one of them out")
        for name in ("test_data", "max_prompt_tokens"):
            if getattr(self, name) is not None and self.data is None:
                raise ValueError(
                    f"--{name.replace('_', '-')} belongs to --data; the generated world has its own problems"
                )
        for name in ("max_prompt_tokens", "eval_every"):
            _require(getattr(self, name) is None or getattr(self, name) >= 1, name, "at least 1", self)
        _require(
            0.01 <= self.temperature < float("inf"),
            "temperature",
            "at least 0.01: training draws, it doesn't argmax",
            self,
        )
        for name in ("learning_rate", "grad_clip"):
            _require(0 < getattr(self, name) < float("inf"), name, "a number above 0", self)
        for name in ("warmup", "weight_decay", "junior_weight", "kl_coef", "eval_temperature", "seed"):
            _require(0 <= getattr(self, name) < float("inf"), name, "a number from 0 up", self)
        _require(0 < self.p_senior <= 1, "p_senior", "above 0, or there is nothing to train on, and at most 1", self)
        if self.prompts % self.mini_batches:
            raise ValueError(f"--mini-batches {self.mini_batches} doesn't divide --prompts {self.prompts}")
        if self.clip is not None:
            _require(0 < self.clip < 1, "clip", "between 0 and 1", self)
        if self.group_size == 1 and (self.baseline in ("group", "rloo") or self.normalize_std):
            raise ValueError(
                "--group-size 1 leaves nothing to compare a response with: use --baseline ema or none, "
                "without --normalize-std, or a larger group"
            )
        if self.normalize_std and self.baseline in ("ema", "none"):
            raise ValueError(
                f"--normalize-std, which --objective grpo has by itself, divides by a group's spread, and --baseline "
                f"{self.baseline} leaves something to divide where that is 0: use --normalize-std false, or --baseline group"
            )

    def record(self) -> dict:
        """What config.json and eval.json keep: the same however often the run was resumed."""
        return asdict(self) | {"resume": None}


def _require(condition: bool, name: str, what: str, config: Config) -> None:
    if not condition:
        raise ValueError(f"--{name.replace('_', '-')} is {getattr(config, name)}; it must be {what}")

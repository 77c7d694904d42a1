"""The bounds of train.py's options, and which of them go together."""

from support.runs import ranks
from support.runs.options import option

# The least value of each number. The tiny ones must be above 0, or nothing would be trained.
AT_LEAST = {
    0: "steps warmup_steps weight_decay junior_weight kl_coef eval_temperature seed",
    1e-30: "learning_rate grad_clip p_senior",
    0.01: "temperature",
    1: "max_gap chunk max_prompt_tokens prompts_per_step group_size max_new_tokens mini_batches "
    "micro_batch_tokens rollout_batch_size eval_problems eval_samples eval_every save_every",
}


def check_config(config) -> None:
    """ValueError if something in a `Config` can't be. It names the option and the remedy."""
    if config.clip is not None and config.loss != "grpo":
        raise ValueError("--clip belongs to --loss grpo; reinforce has no ratio to clip")
    for least, names in AT_LEAST.items():
        for name in names.split():
            value = getattr(config, name)
            if value is not None and not least <= value < 2**63:
                raise ValueError(
                    f"{option(name)} is {value}; it must be a number from {least} to 2^63"
                )
    if config.p_senior > 1:
        raise ValueError(f"--p-senior is {config.p_senior}; a probability is at most 1")
    if config.clip is not None and not 0 < config.clip < 1:
        raise ValueError(f"--clip is {config.clip}; it must be between 0 and 1")
    if config.prompts_per_step % (config.mini_batches * ranks.size()):
        raise ValueError(
            "--prompts-per-step must be a multiple of --mini-batches "
            "(times the processes of torchrun)"
        )
    if config.group_size == 1 and (config.baseline in ("group", "rloo") or config.normalize_std):
        raise ValueError(
            "--group-size 1 leaves nothing to compare with: use --baseline ema or none, without std"
        )
    if config.normalize_std and config.baseline in ("ema", "none"):
        raise ValueError(
            f"--normalize-std divides by a group's spread, and --baseline {config.baseline} leaves "
            "something to divide where that is 0: use --normalize-std false, or --baseline group"
        )
    if config.schedule == "chunk" and config.chunk >= config.max_new_tokens:
        raise ValueError(
            f"--chunk {config.chunk} never hands over within "
            f"--max-new-tokens {config.max_new_tokens}"
        )
    if "{question}" not in config.prompt_template:
        raise ValueError(
            "--prompt-template has no {question} in it, where the question is put; write it there"
        )
    if config.data is not None and config.world != "jargon":
        raise ValueError(
            f"--world {config.world} generates problems, --data has its own; leave one of them out"
        )
    if config.data is None and (config.test_data or config.max_prompt_tokens):
        raise ValueError("--test-data and --max-prompt-tokens belong to --data; give it")

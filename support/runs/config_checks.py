"""Which of train.py's options go together. The range of a number is in the type of its field."""

from support.runs import ranks
from support.runs.fields import check_ranges


def check_config(config) -> None:
    """ValueError if something in a `Config` can't be. It names the option and the remedy."""
    if config.clip is not None and config.loss != "grpo":
        raise ValueError("--clip belongs to --loss grpo; reinforce has no ratio to clip")
    check_ranges(config)
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

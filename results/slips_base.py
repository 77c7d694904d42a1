"""Train a senior for the prediction: as --pretrain --world slips does, but taught to check less.

    python -m results.slips_base --check 0.1 --out runs/slips/base-0.1

Slips stay as frequent. Checks of right steps become rarer in the same proportion.
"""

from dataclasses import dataclass
from types import SimpleNamespace

from data import problems
from support.models.base_pairs import pretrain
from support.runs.options import command, parse


@dataclass
class Options:
    """The options of `python -m results.slips_base`."""

    check: float = problems.CHECK_SLIP
    """share of the slips that the solutions check, and so put right"""
    out: str = "runs/slips/base"
    """directory of the senior"""

    def __post_init__(self):
        if not 0 <= self.check <= 1:
            raise ValueError(f"--check is {self.check}; a share is from 0 to 1")


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    problems.CHECK_RIGHT *= options.check / problems.CHECK_SLIP
    problems.CHECK_SLIP = options.check
    pretrain(SimpleNamespace(world="slips", seed=0, device="cpu", out=options.out))


if __name__ == "__main__":
    main()

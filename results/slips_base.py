"""Train another senior in the world `slips`: as --pretrain does, but taught to check less.

    python -m results.slips_base --check 0.1 --out runs/slips/base-0.1

Slips stay as frequent.
"""

from dataclasses import dataclass, replace
from types import SimpleNamespace

from data import problems
from support.models import base_pairs
from support.runs.options import command, option, parse


@dataclass
class Options:
    """The options of `python -m results.slips_base`."""

    check: float = problems.CHECK_SLIP
    """share of the slips that the solutions check, and so put right"""
    check_right: float | None = None
    """the same of right steps; default: in proportion"""
    steps: int = base_pairs.SLIPPING_SENIOR.steps
    """supervised steps"""
    out: str = "runs/slips/base"
    """directory of the senior"""

    def __post_init__(self):
        if self.check_right is None:
            self.check_right = problems.CHECK_RIGHT * self.check / problems.CHECK_SLIP
        for name in ("check", "check_right"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{option(name)} is {share}; a share is from 0 to 1")


@command
def main(argv: list[str]) -> None:
    options = parse(Options, argv, __doc__)
    problems.CHECK_SLIP = options.check
    problems.CHECK_RIGHT = options.check_right
    recipe = replace(base_pairs.SLIPPING_SENIOR, steps=options.steps)
    base_pairs.RECIPES["slips"] = {"senior": recipe}
    base_pairs.pretrain(SimpleNamespace(world="slips", seed=0, device="cpu", out=options.out))


if __name__ == "__main__":
    main()

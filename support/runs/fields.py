"""What the type of an option says of it, beside its kind: its range, and when it may change.

    chunk: Count = 16                   # a whole number from 1
    save_every: NoEffect[Count] = 20    # it changes no result
    p_last: WithSteps[Probability | None] = None    # what it does in a step depends on --steps

Nothing else is needed for a new option of train.py: checks, help, --resume, --like and the groups
of evaluate.py follow from its field.
"""

import functools
import typing
from dataclasses import dataclass
from typing import Annotated, TypeVar

from support.runs.options import option

LARGEST = 2**63 - 1
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Range:
    """The least and the largest value of a number."""

    least: float
    most: float = LARGEST

    def __str__(self) -> str:
        most = "2^63" if self.most == LARGEST else self.most
        return f"a number from {self.least} to {most}"


# Ranges. The tiny ones are above 0, or nothing would be trained.
Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
NotNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(1e-30)]
Temperature = Annotated[float, Range(0.01)]
Probability = Annotated[float, Range(1e-30, 1)]

# Changes nothing but rounding: it may change on --resume, and runs of one group may differ in it.
NO_EFFECT = "changes no result"
NoEffect = Annotated[Kind, NO_EFFECT]
# Belongs to one directory: --like doesn't take it over, and runs of one group may differ in it.
OF_ONE_RUN = "of one run"
OfOneRun = Annotated[Kind, OF_ONE_RUN]
# Means something else in a run of other --steps: where it is set, --resume refuses other --steps.
WITH_STEPS = "depends on --steps"
WithSteps = Annotated[Kind, WITH_STEPS]
# A file or a directory of a model, which the run keeps and loads by the field's name.
MODEL = "a model"
ModelPath = Annotated[str, MODEL]


@functools.lru_cache
def marks_of(cls: type) -> dict[str, list]:
    """What is noted beside the kind of each field of a dataclass."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: noted(hint) for name, hint in hints.items()}


def noted(hint) -> list:
    """The notes of a type, and of the types that it is made of."""
    found = list(getattr(hint, "__metadata__", ()))
    inner = typing.get_args(hint)
    if found:
        inner = [hint.__origin__]
    for part in inner:
        found += noted(part)
    return found


def marked(cls: type, mark: str) -> list[str]:
    """The fields of this kind: NO_EFFECT, OF_ONE_RUN, WITH_STEPS or MODEL."""
    return [name for name, marks in marks_of(cls).items() if mark in marks]


def check_ranges(options) -> None:
    """ValueError if a number lies outside the range of its field. None is no number."""
    for name, marks in marks_of(type(options)).items():
        value = getattr(options, name)
        for mark in marks:
            if value is None or not isinstance(mark, Range):
                continue
            if not mark.least <= value <= mark.most:
                raise ValueError(f"{option(name)} is {value}; it must be {mark}")

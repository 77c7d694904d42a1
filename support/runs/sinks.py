"""Where a run's numbers go beside its own logs: `--log tensorboard`, `--log wandb`.

A sink is a function of a step and its numbers, {name: number}. `run.sinks` is a list of sinks: a
fork adds its own with `run.sinks.append(...)`, once the run is loaded.
"""

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path

from support.runs.options import UserError

Sink = Callable[[int, dict[str, float]], None]


def logger_package(name: str):
    """The package behind --log. UserError if it isn't installed."""
    try:
        if name == "tensorboard":
            from torch.utils import tensorboard

            return tensorboard
        import wandb

        return wandb
    except ImportError:
        raise UserError(f"--log {name} needs a package: pip install {name}") from None


def opened_sink(
    name: str,
    directory: Path,
    step: int,
    config: dict,
    to_close: contextlib.ExitStack,
) -> Sink:
    """The sink of --log, which goes on from `step`. Closing `to_close` closes the sink."""
    package = logger_package(name)
    if name == "tensorboard":
        return to_tensorboard(package, directory, step, to_close)
    return to_wandb(package, directory, config, to_close)


def to_tensorboard(tensorboard, directory: Path, step: int, to_close) -> Sink:
    """Into DIR/tensorboard. It forgets what an ended run wrote from `step` on."""
    writer = tensorboard.SummaryWriter(str(directory / "tensorboard"), purge_step=step)
    to_close.callback(writer.close)

    def sink(step: int, numbers: dict[str, float]) -> None:
        for name, number in numbers.items():
            writer.add_scalar(name, number, step)

    return sink


def to_wandb(wandb, directory: Path, config: dict, to_close) -> Sink:
    """Into one run there, however often it is resumed: DIR/wandb_id.txt keeps its id.

    Steps that are taken again are dropped there. Resume is exact, so they are the same.
    """
    path = directory / "wandb_id.txt"
    if not path.exists():
        path.write_text(uuid.uuid4().hex[:12])
    run = wandb.init(
        project="tandem",
        name=directory.name,
        id=path.read_text().strip(),
        resume="allow",
        dir=str(directory),
        config=config,
    )
    to_close.callback(run.finish)
    return lambda step, numbers: run.log(numbers, step=step)


def flat(measures: dict, prefix: str) -> dict[str, float]:
    """The numbers of a dictionary of dictionaries, by their paths. None is no number."""
    found = {}
    for name, value in measures.items():
        path = f"{prefix}/{name}"
        if isinstance(value, dict):
            found |= flat(value, path)
        elif value is not None:
            found[path] = value
    return found

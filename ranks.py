"""Several processes for one run: `torchrun --nproc_per_node=2 train.py …`. In a single process nothing here does anything.

Every rank (process) has both models and sees every row of a batch, but writes, verifies and reads again only a share of
the rows. What they found is gathered, gradients are added up, and so all take the same step: no rank leads another.
The first one alone writes files and speaks.
"""

import contextlib
import datetime
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.distributed as dist

import cli
from cli import UserError


def join() -> None:
    """Join the others that torchrun started, if it did. From here on only the first rank's words are shown."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return
    try:  # gathering goes over the CPU, so that it needs no GPU's time; one rank's death ends the others, not a timeout
        backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backends, timeout=datetime.timedelta(days=1))
    except (ValueError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"WORLD_SIZE is set, but no others are found ({why}); use torchrun, or unset it") from None
    if rank() > 0:
        sys.excepthook = lambda *error: traceback.print_exception(
            *error, file=sys.__stderr__
        )  # but what crashes says so
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def leave() -> None:
    """At the end of it all."""
    if size() > 1:
        dist.destroy_process_group()


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is: 0 is the first."""
    return dist.get_rank() if size() > 1 else 0


def pick_device(name: str) -> torch.device:
    """cli.pick_device, with a GPU for every rank of this machine."""
    local, GPUs = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if size() > 1 and GPUs and name in ("auto", "cuda"):
        if (needed := int(os.environ.get("LOCAL_WORLD_SIZE", "1"))) > GPUs:
            raise UserError(f"{needed} processes need a GPU each, of {GPUs}: torchrun --nproc_per_node={GPUs}")
        torch.cuda.set_device(local)
    device = cli.pick_device(name)
    if size() > 1 and device.type == "mps":
        raise UserError("MPS serves a single process; use --device cpu, or no torchrun")
    return device


def share(total: int) -> slice:
    """This rank's part of so many rows: contiguous, in the order of the ranks."""
    return slice(total * rank() // size(), total * (rank() + 1) // size())


def parts(total: int, most: int) -> list[range]:
    """The same, in parts of at most `most` rows."""
    own = range(total)[share(total)]
    return [own[i : i + most] for i in range(0, len(own), most)]


def gather(work: Callable[..., list], *arguments) -> list:
    """The lists that `work(*arguments)` gives on the ranks, one after the other, on all of them.

    A FloatingPointError on one is raised on all. What else ends one ends the others: torchrun sees to it.
    """
    if size() == 1:
        return work(*arguments)
    try:
        own = work(*arguments)
    except FloatingPointError as error:
        own = error
    buffer, everyone = io.BytesIO(), [b""] * size()
    torch.save(own, buffer)
    with _talking():
        dist.all_gather_object(everyone, buffer.getvalue())
    # Tensors of another's GPU are put on this one's.
    here = lambda storage, place: storage if place == "cpu" else storage.cuda()
    found = [torch.load(io.BytesIO(data), map_location=here, weights_only=False) for data in everyone]
    for theirs in found:
        if isinstance(theirs, FloatingPointError):
            raise theirs
    return [item for theirs in found for item in theirs]


def add_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Each gradient becomes the sum of all ranks'.

    The losses of the ranks have one denominator, the whole's count of tokens, so that this is the gradient of the whole.
    DistributedDataParallel's mean would be that of losses which each have a count of their own.
    """
    for parameter in parameters if size() > 1 else ():
        if parameter.grad is None:  # this rank had no row to read
            parameter.grad = torch.zeros_like(parameter)
        with _talking():
            dist.all_reduce(parameter.grad)


@contextlib.contextmanager
def _talking() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(f"another process of this run has ended ({str(error).splitlines()[0]})") from None

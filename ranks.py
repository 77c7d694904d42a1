"""Several processes for one run: `torchrun --nproc_per_node=2 train.py …`. In a single one nothing here does anything.

Every rank (process) holds both models and sees whole batches, but writes, verifies and reads again only its share of the
rows. What they found is gathered, gradients are added up: so all take the same step. The first alone writes and speaks.
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


def join() -> None:
    """Join the others that torchrun started, if it did. From here on only the first rank's words are shown."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return
    backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:  # a rank's death ends the others at once, by torchrun: no timeout need do it, which a long wait might meet
        dist.init_process_group(backends, timeout=datetime.timedelta(days=1))
    except (ValueError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise cli.UserError(f"WORLD_SIZE is set, but there is no group ({why}); use torchrun, or unset it") from None
    if rank() > 0:  # but what crashes says so
        sys.excepthook = lambda *error: traceback.print_exception(*error, file=sys.__stderr__)
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def leave() -> None:
    """At the end of a run that went well."""
    if size() > 1:
        dist.destroy_process_group()


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is; 0 is the first."""
    return dist.get_rank() if size() > 1 else 0


def pick_device(name: str) -> torch.device:
    """cli.pick_device, with a GPU for every rank of this machine."""
    gpus, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if size() > 1 and gpus and name in ("auto", "cuda"):
        if here > gpus:
            raise cli.UserError(f"{here} processes need a GPU each, and there are {gpus}: --nproc_per_node={gpus}")
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    device = cli.pick_device(name)
    if size() > 1 and device.type == "mps":
        raise cli.UserError("MPS serves a single process; use --device cpu, or no torchrun")
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

    A FloatingPointError of one is raised on all, so that all do the same about it.
    """
    if size() == 1:
        return work(*arguments)
    try:
        own = work(*arguments)
    except FloatingPointError as error:
        own = error
    buffer, everyones = io.BytesIO(), [b""] * size()
    torch.save(own, buffer)
    with _talking():
        dist.all_gather_object(everyones, buffer.getvalue())
    place = lambda storage, saved: storage if saved == "cpu" else storage.cuda()  # on this rank's GPU, not on theirs
    found = [torch.load(io.BytesIO(data), map_location=place, weights_only=False) for data in everyones]
    if faults := [theirs for theirs in found if isinstance(theirs, FloatingPointError)]:
        raise faults[0]
    return [item for theirs in found for item in theirs]


def add_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Each gradient becomes the sum of all ranks': the whole's, as their losses have one denominator, its Σ w.

    DistributedDataParallel takes the mean instead, as if every rank had as many tokens.
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

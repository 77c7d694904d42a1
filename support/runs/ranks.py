"""Several processes for one run, on one machine or several: `torchrun --nproc_per_node=2 train.py`.

Every rank (process) runs the same `train` on its share of each step's problems, whole groups. The
ranks add up one count of tokens, their gradients and their metrics, so all take the same step. Only
the first rank measures, writes and speaks. In a single process nothing here does anything.
"""

import contextlib
import functools
import os
import socket
import zlib
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.launcher.api import LaunchConfig

from support.runs.devices import pick_device
from support.runs.options import UserError

# Whoever waits longer for another process has lost it.
PATIENCE = timedelta(minutes=10)
# While the first rank measures, the others wait on the CPU: a step's first sum counts tokens.
MEASURING = timedelta(days=1)


def join() -> None:
    """Join the other processes, if torchrun started this one."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return
    backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backends, timeout=PATIENCE)
    except ValueError as error:
        why = first_sentence(error)
        raise UserError(
            f"WORLD_SIZE is set, but there is no group ({why}); use torchrun, or unset it"
        ) from None
    except RuntimeError as error:
        why = first_sentence(error)
        raise UserError(
            f"the processes can't reach each other ({why}); on several machines set "
            "GLOO_SOCKET_IFNAME on each to the interface of their network, as eth0"
        ) from None
    gloo = dist.group.WORLD._get_backend(torch.device("cpu"))
    gloo._set_default_timeout(MEASURING)
    watch_connections()


def watch_connections() -> None:
    """Let the system give up a connection if its other machine is silent for a minute.

    When a process dies, its machine closes the connection. A machine without power or network
    closes nothing, and gloo doesn't ask for it.
    """
    numbers = []
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        numbers = os.listdir("/proc/self/fd")
    for number in numbers:
        with contextlib.suppress(OSError):  # it is no connection
            connection = socket.fromfd(int(number), socket.AF_INET, socket.SOCK_STREAM)
            with connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)  # s
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)  # ms


def leave() -> None:
    if size() > 1:
        dist.destroy_process_group()


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def device(name: str) -> torch.device:
    """pick_device, with a GPU for every rank of this machine."""
    if size() > 1 and torch.cuda.is_available() and name in ("auto", "cuda"):
        here = int(os.environ.get("LOCAL_WORLD_SIZE", size()))  # processes on this machine
        gpus = torch.cuda.device_count()
        if here > gpus:
            raise UserError(
                f"every process needs a GPU, and there are {gpus}; "
                f"give torchrun --nproc_per_node={gpus}"
            )
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return pick_device(name)


def lost(error: BaseException) -> str | None:
    """The reason in an error that says that another process can't be reached, else None."""
    reason = first_sentence(error)
    if size() > 1 and isinstance(error, dist.DistError):
        return reason
    if size() > 1 and isinstance(error, RuntimeError) and "gloo" in reason:
        return reason
    return None


def first_sentence(error: BaseException) -> str:
    """Of an error's text: gloo goes on to advise its authors."""
    line, _, _ = str(error).partition("\n")
    sentence, _, _ = line.partition(". ")
    return sentence


def patience() -> tuple[int, str]:
    """The seconds from Ctrl-C until torchrun kills its processes, and the remedy if they are few.

    A --shutdown-timeout of torchrun itself isn't known here.
    """
    seconds = int(os.environ.get("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "30"))
    if "shutdown_timeout" in LaunchConfig.__dataclass_fields__:
        return seconds, "torchrun --shutdown-timeout SECONDS waits longer"
    return seconds, "--save-every 1 loses fewer"


def share(items):
    """This rank's part of a list, or of a tensor's rows.

    It is every size-th one, so that mini-batches are shared evenly too.
    """
    return items[rank() :: size()]


def reduced(operation, value: Tensor | float) -> Tensor | float:
    """The ranks' values as one, the same on each."""
    if size() > 1:
        value = torch.as_tensor(value).clone()
        dist.all_reduce(value, operation)
    return value


sum = functools.partial(reduced, dist.ReduceOp.SUM)  # of the ranks' values
max = functools.partial(reduced, dist.ReduceOp.MAX)


def agree(content) -> bool:
    """Whether all ranks have the same plain value."""
    own = zlib.crc32(repr(content).encode())
    return bool(max(own) == -max(-own))  # the largest is the smallest


def of_first(text: str) -> str:
    """The first rank's text, on each."""
    texts = [text]
    if size() > 1:
        dist.broadcast_object_list(texts)
    return texts[0]


def sum_gradients(model: torch.nn.Module) -> None:
    """Add up the ranks' gradients, whose losses have one denominator. DDP would take their mean."""
    if size() > 1:
        for parameter in model.parameters():
            if parameter.grad is None:  # this rank had no row to read
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

"""A pretended GPU, for a machine without one: tensors that say they are on cuda:0, and hold their numbers on the CPU.

    with pretended_gpu() as log:
        model = to_gpu(model)
        ...  # device="cuda" works; RuntimeError where an operation mixes devices
    log.waits  # of the host for the GPU, by "file.py:line operation"
    log.launches  # on the GPU, by operation; a step of the gradient's formula counts as one

It counts, it doesn't time. Gradients under autocast: matrix products, attention and RMSNorm alone are converted.
"""

import contextlib
import copy
import traceback
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.amp.autocast_mode import _cast
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda", 0)  # where Python finds the tensors
HERE = torch.device(
    "meta", 0
)  # where torch's C++ does: a build without CUDA has neither x[i] nor gradients there
NAMES = str | torch.device
WAITING = {
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
}  # of item, equal, nonzero, masked_select …
# Launches of an operation, if not 1. Views have none.
LAUNCHES = dict(
    empty=0, empty_like=0, new_empty=0, empty_strided=0, new_empty_strided=0, _unsafe_view=0, isin=3
)
LAUNCHES |= dict(
    _local_scalar_dense=0,
    masked_fill=2,
    constant_pad_nd=2,
    scatter=2,
    index_put=2,
    nonzero=4,
    topk=3,
)
ROOT = str(Path(__file__).resolve().parent.parent)
# quiet: within what a GPU has one kernel for; autocast: whether Python's last call was made under it
LOG = SimpleNamespace(waits=Counter(), launches=Counter(), quiet=False, autocast=False)


class OnGPU(Tensor):
    """A tensor of the pretended GPU. `held` has its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device, is_cuda, is_meta = property(lambda self: CUDA), True, False

    def __new__(cls, held: Tensor):
        layout = dict(strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype)
        self = Tensor._make_wrapper_subclass(
            cls, held.shape, **layout, device=CUDA, dispatch_device=True
        )
        self.held = held
        return self

    def __repr__(self):
        return f"OnGPU({self.held})"

    def tolist(self):
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is not torch.ops.prim.device.default:
            return run(func, args, kwargs or {})
        # An operation's autocast asks too, with itself switched off, and converts what is on CUDA alone.
        autocast = (
            LOG.autocast and not torch.is_autocast_enabled("cuda") and not torch.is_grad_enabled()
        )
        return CUDA if autocast else HERE


def run(func, args: tuple, kwargs: dict):
    """Do on the CPU what the GPU is asked for, and note it."""
    name, leaves = func.overloadpacket.__name__, []
    each(leaves.append, (args, kwargs))
    ours = {id(x.held): x for x in leaves if isinstance(x, OnGPU)}
    host = [x for x in leaves if isinstance(x, Tensor) and not isinstance(x, OnGPU)]
    device = kwargs.get("device") or (args[0].device if name == "copy_" else CUDA)  # the result's
    if name in ("_to_copy", "copy_"):
        across = isinstance(args[name == "copy_"], OnGPU) == (device.type == "cpu")
        wait = across and (
            device.type == "cpu" or not (kwargs.get("non_blocking") or args[2:] == (True,))
        )
        host = []
    elif name in ("index", "index_put", "index_put_", "_unsafe_index"):
        indices = [x for x in args[1] if x is not None]
        masks = [x.dtype == torch.bool for x in indices]
        others = [x for x in host if not any(x is i for i in indices)]
        wait = not all(masks) if others else any(masks) or host  # x[mask] = 0 is a masked_fill
        host = others
    else:
        wait = (
            host
            if name == "where"
            else WAITING.intersection(func.tags) and kwargs.get("output_size") is None
        )
    if wait:
        LOG.waits[f"{line()} {name}"] += 1
    mixed = ours and any(x.dim() or func._schema.is_mutable and x is args[0] for x in host)
    if mixed or any(isinstance(x, torch.Generator) for x in leaves):
        raise RuntimeError(f"{line()} {name}: tensors, or a generator, on the CPU and on cuda:0")
    if not LOG.quiet and not func.is_view:
        LOG.launches[name] += LAUNCHES.get(name, 1)
    args, kwargs = each(lambda x: getattr(x, "held", x), (args, kwargs))
    out = func(
        *args, **kwargs | {"device": torch.device("cpu")} if kwargs.get("device") else kwargs
    )
    if device.type == "cpu":
        return out
    return each(
        lambda x: ours[id(x)] if id(x) in ours else OnGPU(x) if isinstance(x, Tensor) else x, out
    )


def each(change, x):
    """The same lists, tuples and dicts of `change`d things."""
    if isinstance(x, dict):
        return {key: each(change, value) for key, value in x.items()}
    return type(x)(each(change, y) for y in x) if isinstance(x, list | tuple) else change(x)


def line() -> str:
    """The innermost line of the project."""
    for frame, number in traceback.walk_stack(None):
        name = frame.f_code.co_filename
        if name.startswith(ROOT) and "-packages" not in name and name != __file__:
            return f"{Path(name).name}:{number}"
    return "?"


def rms_norm(x: Tensor, shape, weight: Tensor, eps: float) -> Tensor:
    """F.rms_norm from operations that have a gradient on the CPU: a build with CUDA gives its own one there alone."""
    return x * (x.square().mean(dim=-1, keepdim=True) + eps).rsqrt() * weight


class Operations(TorchDispatchMode):
    """Operations that make tensors on the GPU from none there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        return (
            run(func, args, kwargs)
            if kwargs.get("device") in (CUDA, HERE)
            else func(*args, **kwargs)
        )


class Calls(TorchFunctionMode):
    """Functions as Python calls them, before autocast."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        LOG.autocast, kwargs = torch.is_autocast_enabled("cuda"), kwargs or {}
        if func is torch.device:
            return func(*args, **kwargs)
        if func is Tensor.pin_memory:
            return args[0]
        args, kwargs = each(
            lambda x: HERE if isinstance(x, NAMES) and "cuda" in str(x) else x, (args, kwargs)
        )
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == HERE:
            return func(*args, **kwargs | {"device": None}).to(HERE)
        if (
            func is Tensor.__setitem__
            and isinstance(args[0], OnGPU)
            and isinstance(args[2], bool | int | float)
        ):
            args = (*args[:2], torch.tensor(args[2], dtype=args[0].dtype))  # as CUDA does
        single = func in (F.scaled_dot_product_attention, F.rms_norm)  # one launch
        if LOG.autocast and (
            single
            or torch.is_grad_enabled()
            and func in (F.linear, torch.matmul, Tensor.__matmul__)
        ):
            dtype = torch.float32 if func is F.rms_norm else torch.get_autocast_dtype("cuda")
            args, kwargs = _cast((args, kwargs), "cuda", dtype)
        mask = kwargs.get("attn_mask", *args[3:4]) if single else None
        if isinstance(mask, OnGPU) and mask.dtype not in (torch.bool, args[0].dtype):
            raise RuntimeError(f"{line()}: a mask of {mask.dtype} for queries of {args[0].dtype}")
        if not single:
            return func(*args, **kwargs)
        LOG.launches[func.__name__] += 1
        if func is F.rms_norm and torch.is_grad_enabled():
            func = rms_norm
        with mock.patch.object(LOG, "quiet", True):
            return func(*args, **kwargs)


@contextlib.contextmanager
def pretended_gpu():
    """Until the end of `with` there is a GPU. Gives the log, with new counters."""
    LOG.waits, LOG.launches = Counter(), Counter()
    answers = dict(is_available=True, is_bf16_supported=True, is_current_stream_capturing=False)
    answers = {name: lambda answer=answer: answer for name, answer in answers.items()}
    cuda = mock.patch.multiple(torch.cuda, **answers)
    # An optimizer of a build with CUDA would ask the driver, which isn't there, whether a graph is captured.
    accelerator = mock.patch("torch.accelerator.current_accelerator", lambda *_, **__: None)
    with cuda, accelerator, Calls(), Operations():
        yield LOG


def to_gpu(module: nn.Module) -> nn.Module:
    """A copy of it there; what is tied stays tied."""
    moved = {id(x): OnGPU(x.detach().clone()) for x in module.buffers()}
    moved |= {
        id(x): nn.Parameter(OnGPU(x.detach().clone()), x.requires_grad) for x in module.parameters()
    }
    return copy.deepcopy(module, moved)

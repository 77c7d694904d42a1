"""A pretended GPU, for a machine without one: its tensors say that they are on cuda:0.

They hold their numbers on the CPU.

    with pretended_gpu() as log:
        model = to_gpu(model)
        ...  # device="cuda" works; RuntimeError where an operation mixes devices
    log.waits  # of the host for the GPU, by "file.py:line operation"
    log.launches  # on the GPU, by operation; a step of the gradient's formula counts as one

It counts, it doesn't time. Gradients under autocast: only matrix products, attention and RMSNorm
are converted.

Three layers see an operation, from Python downwards. `Calls` sees the functions that Python calls.
`Operations` sees the operations that make tensors on the GPU from none there. OnGPU's
`__torch_dispatch__` sees the operations on tensors of the GPU. The last two do them with `run`.
"""

import contextlib
import copy
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.amp.autocast_mode import _cast
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda", 0)  # where Python finds the tensors
# where torch's C++ finds them: a build without CUDA has neither x[i] nor gradients on "cuda"
HERE = torch.device("meta", 0)
CPU = torch.device("cpu")
WAITING = {  # of item, equal, nonzero, masked_select …
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
}
COPYING = {"_to_copy", "copy_"}
INDEXING = {"index", "index_put", "index_put_", "_unsafe_index"}
LAUNCHES = {  # of an operation, if not 1; views have none
    "empty": 0,
    "empty_like": 0,
    "new_empty": 0,
    "empty_strided": 0,
    "new_empty_strided": 0,
    "_unsafe_view": 0,
    "_local_scalar_dense": 0,
    "masked_fill": 2,
    "constant_pad_nd": 2,
    "scatter": 2,
    "index_put": 2,
    "isin": 3,
    "topk": 3,
    "nonzero": 4,
}
ROOT = str(Path(__file__).resolve().parent.parent)


@dataclass
class Log:
    waits: Counter = field(default_factory=Counter)
    launches: Counter = field(default_factory=Counter)
    quiet: bool = False  # within an operation that is one kernel on a GPU
    autocast: bool = False  # whether Python's last call was made under it


LOG = Log()


class OnGPU(Tensor):
    """A tensor of the pretended GPU. `held` has its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)
    is_cuda = True
    is_meta = False

    def __new__(cls, held: Tensor):
        self = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=CUDA,
            dispatch_device=True,
        )
        self.held = held
        return self

    def __repr__(self):
        return f"OnGPU({self.held})"

    def tolist(self):
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.prim.device.default:
            return CUDA if autocast_asks() else HERE
        return run(func, args, kwargs or {})


def autocast_asks() -> bool:
    """Whether it is an operation's autocast that asks for a tensor's device.

    It is switched off itself while it asks. It converts tensors on CUDA alone.
    """
    off = not torch.is_autocast_enabled("cuda")
    return LOG.autocast and off and not torch.is_grad_enabled()


# ---- Operations on the GPU -----------------------------------------------------------------------


def run(func, args: tuple, kwargs: dict):
    """Do on the CPU what the GPU is asked for, and note it."""
    name = func.overloadpacket.__name__
    leaves = []
    each(leaves.append, (args, kwargs))
    on_gpu = {id(x.held): x for x in leaves if isinstance(x, OnGPU)}
    on_host = [x for x in leaves if isinstance(x, Tensor) and not isinstance(x, OnGPU)]
    device = kwargs.get("device") or CUDA  # of the result
    if name == "copy_":
        device = args[0].device

    if name in COPYING:
        wait = copy_waits(name, args, kwargs, device)
        on_host = []  # a copy may mix devices
    elif name in INDEXING:
        indices = [x for x in args[1] if x is not None]
        others = [x for x in on_host if not any(x is index for index in indices)]
        wait = index_waits(indices, on_host, others)
        on_host = others  # an index may be on the CPU
    elif name == "where":
        wait = bool(on_host)
    else:
        wait = bool(WAITING.intersection(func.tags)) and kwargs.get("output_size") is None
    if wait:
        LOG.waits[f"{line()} {name}"] += 1

    refuse_mixed_devices(func, args, leaves, on_host, bool(on_gpu))
    if not LOG.quiet and not func.is_view:
        LOG.launches[name] += LAUNCHES.get(name, 1)

    args, kwargs = each(lambda x: getattr(x, "held", x), (args, kwargs))
    if kwargs.get("device"):
        kwargs = kwargs | {"device": CPU}
    out = func(*args, **kwargs)
    if device.type == "cpu":
        return out

    def to_there(x):
        if id(x) in on_gpu:  # what an operation changes in place is the same tensor
            return on_gpu[id(x)]
        return OnGPU(x) if isinstance(x, Tensor) else x

    return each(to_there, out)


def copy_waits(name: str, args: tuple, kwargs: dict, device: torch.device) -> bool:
    """A copy to the CPU waits for the GPU; one to the GPU does if it is a blocking one."""
    source = args[1] if name == "copy_" else args[0]
    to_cpu = device.type == "cpu"
    if isinstance(source, OnGPU):
        return to_cpu
    non_blocking = kwargs.get("non_blocking") or args[2:] == (True,)
    return not to_cpu and not non_blocking


def index_waits(indices: list[Tensor], on_host: list[Tensor], others: list[Tensor]) -> bool:
    """An index on the CPU is uploaded, and a mask's places are counted: both wait.

    `others` are the tensors on the CPU that are no index. x[mask] = 0 has one, and doesn't wait: it
    is a masked_fill.
    """
    masks = [x.dtype == torch.bool for x in indices]
    if others:
        return not all(masks)
    return any(masks) or bool(on_host)


def refuse_mixed_devices(func, args: tuple, leaves: list, on_host: list[Tensor], any_on_gpu: bool):
    """RuntimeError for an operation that a GPU would refuse.

    A number on the CPU, a tensor without dimensions, may take part, but may not be changed.
    """
    mixed = False
    for x in on_host:
        changed = func._schema.is_mutable and x is args[0]
        mixed = mixed or any_on_gpu and (x.dim() > 0 or changed)
    generator = any(isinstance(x, torch.Generator) for x in leaves)
    if mixed or generator:
        name = func.overloadpacket.__name__
        raise RuntimeError(f"{line()} {name}: tensors, or a generator, on the CPU and on cuda:0")


def each(change, x):
    """The same lists, tuples and dicts of `change`d things."""
    if isinstance(x, dict):
        return {key: each(change, value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return type(x)(each(change, y) for y in x)
    return change(x)


def line() -> str:
    """The innermost line of the project."""
    for frame, number in traceback.walk_stack(None):
        name = frame.f_code.co_filename
        if name.startswith(ROOT) and "-packages" not in name and name != __file__:
            return f"{Path(name).name}:{number}"
    return "?"


class Operations(TorchDispatchMode):
    """Operations that make tensors on the GPU from none there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if kwargs.get("device") in (CUDA, HERE):
            return run(func, args, kwargs)
        return func(*args, **kwargs)


# ---- Functions as Python calls them --------------------------------------------------------------

KERNELS = (F.scaled_dot_product_attention, F.rms_norm)  # one launch each
PRODUCTS = (F.linear, torch.matmul, Tensor.__matmul__)


class Calls(TorchFunctionMode):
    """Functions as Python calls them, before autocast."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        LOG.autocast = torch.is_autocast_enabled("cuda")
        if func is torch.device:
            return func(*args, **kwargs)
        if func is Tensor.pin_memory:
            return args[0]
        args, kwargs = each(cuda_to_here, (args, kwargs))
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == HERE:
            return func(*args, **kwargs | {"device": None}).to(HERE)
        if func is Tensor.__setitem__:
            args = with_a_tensor_for_a_number(*args)
        if autocast_converts(func):
            dtype = torch.get_autocast_dtype("cuda")
            if func is F.rms_norm:
                dtype = torch.float32
            args, kwargs = _cast((args, kwargs), "cuda", dtype)
        if func in KERNELS:
            return launch_kernel(func, args, kwargs)
        return func(*args, **kwargs)


def cuda_to_here(x):
    """A device by any name of CUDA becomes HERE."""
    is_device = isinstance(x, str | torch.device)
    return HERE if is_device and "cuda" in str(x) else x


def with_a_tensor_for_a_number(x: Tensor, index, value) -> tuple:
    """The arguments of x[index] = value; CUDA makes a tensor on the CPU of a number."""
    if isinstance(x, OnGPU) and isinstance(value, bool | int | float):
        value = torch.tensor(value, dtype=x.dtype)
    return x, index, value


def autocast_converts(func) -> bool:
    """Whether the arguments are converted here: below, only operations without a gradient are."""
    if not LOG.autocast:
        return False
    return func in KERNELS or torch.is_grad_enabled() and func in PRODUCTS


def launch_kernel(func, args: tuple, kwargs: dict) -> Tensor:
    """Attention or RMSNorm, in one launch."""
    mask = kwargs.get("attn_mask", *args[3:4])
    if isinstance(mask, OnGPU) and mask.dtype not in (torch.bool, args[0].dtype):
        raise RuntimeError(f"{line()}: a mask of {mask.dtype} for queries of {args[0].dtype}")
    LOG.launches[func.__name__] += 1
    if func is F.rms_norm and torch.is_grad_enabled():
        func = rms_norm
    with mock.patch.object(LOG, "quiet", True):
        return func(*args, **kwargs)


def rms_norm(x: Tensor, shape, weight: Tensor, eps: float) -> Tensor:
    """F.rms_norm from operations that have a gradient on the CPU.

    In a build with CUDA F.rms_norm itself has its gradient on a GPU alone.
    """
    mean_square = x.square().mean(dim=-1, keepdim=True)
    return x * (mean_square + eps).rsqrt() * weight


# ---- The GPU -------------------------------------------------------------------------------------


@contextlib.contextmanager
def pretended_gpu():
    """Until the end of `with` there is a GPU. Gives the log, with new counters."""
    LOG.waits = Counter()
    LOG.launches = Counter()
    cuda = mock.patch.multiple(
        torch.cuda,
        is_available=lambda: True,
        is_bf16_supported=lambda: True,
        is_current_stream_capturing=lambda: False,
    )
    # An optimizer of a build with CUDA would ask the driver whether a graph is captured.
    accelerator = mock.patch("torch.accelerator.current_accelerator", lambda *_, **__: None)
    with cuda, accelerator, Calls(), Operations():
        yield LOG


def to_gpu(module: nn.Module) -> nn.Module:
    """A copy of it there; tied weights stay tied."""
    moved = {}
    for x in module.buffers():
        moved[id(x)] = OnGPU(x.detach().clone())
    for x in module.parameters():
        moved[id(x)] = nn.Parameter(OnGPU(x.detach().clone()), x.requires_grad)
    return copy.deepcopy(module, moved)

"""Where a command computes."""

import torch

from support.runs.options import UserError


def pick_device(name: str) -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU.

    Settings for rollouts on CUDA are made here too.
    """
    if name == "auto":
        name = "cpu"
        if torch.backends.mps.is_available():
            name = "mps"
        if torch.cuda.is_available():
            name = "cuda"
    # cuDNN's attention plans anew for each shape, and a cache has another shape at every token.
    torch.backends.cuda.enable_cudnn_sdp(False)
    # Products in float32 are many times slower without TF32.
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise UserError(
            f"--device {name} can't be used on this machine; try --device cpu or auto"
        ) from None

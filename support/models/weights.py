"""Weights of a model: made of tensors, with a smaller vocabulary, in a smaller precision."""

import torch
from torch import Tensor, nn

from model import GPT, GPTConfig, Rope


def from_state(config: GPTConfig, state: dict[str, Tensor]) -> GPT:
    """A model of these very tensors, in eval mode.

    ValueError if they don't fit the architecture, or aren't finite.
    """
    if config.n_layers > len(state):  # such a model may not even fit in memory
        raise ValueError(f"{config.n_layers} layers, but {len(state)} tensors")
    with torch.device("meta"):  # no memory, no random numbers
        model = GPT(config)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"the weights don't fit the architecture: {reason}") from None
    if config.tie_embeddings:
        model.head.weight = model.embedding.weight
    model.rope = Rope(config)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ValueError("some weights are NaN or infinite")
    return model.eval()


def drop_ids(model: GPT, vocab_size: int) -> None:
    """Truncate the vocabulary to `vocab_size` ids."""
    for layer in {model.embedding, model.head}:
        kept = layer.weight.detach()[:vocab_size]
        layer.weight = nn.Parameter(kept.clone())
    if model.config.tie_embeddings:
        model.head.weight = model.embedding.weight
    model.config.vocab_size = vocab_size


def store_matrices(model: GPT, dtype: torch.dtype) -> None:
    """Store a frozen model's matrices in this precision.

    Otherwise autocast would convert them at every token. The norms stay as they are. So does an
    embedding, unless it came in this precision: the sum of all layers' outputs begins with it.
    """
    embedding = model.embedding.weight
    exact = torch.equal(embedding, embedding.to(dtype))
    for module in model.modules():
        if isinstance(module, nn.Linear) or (module is model.embedding and exact):
            for name, parameter in module.named_parameters(recurse=False):
                stored = parameter.detach().to(dtype)
                setattr(module, name, nn.Parameter(stored, requires_grad=False))
    if exact and model.config.tie_embeddings:
        model.head.weight = model.embedding.weight  # one tensor again

"""Weights of a model: from tensors, with a smaller vocabulary, in a smaller precision."""

import torch
from torch import Tensor, nn

from model import GPT, GPTConfig, Rope


def from_state(config: GPTConfig, state: dict[str, Tensor]) -> GPT:
    """A model of these very tensors, in eval mode. ValueError if they don't fit the architecture, or aren't finite."""
    if config.n_layers > len(state):  # before so many are made
        raise ValueError(f"{config.n_layers} layers, but {len(state)} tensors")
    with torch.device("meta"):  # no memory, no random numbers
        model = GPT(config)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"the weights don't fit the architecture: {' '.join(str(error).split())}"
        ) from None
    if config.tie_embeddings:
        model.head.weight = model.embedding.weight
    model.rope = Rope(config)
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ValueError("some weights are NaN or infinite")
    return model.eval()


def drop_ids(model: GPT, vocab_size: int) -> None:
    """Truncate the vocabulary to `vocab_size` ids."""
    for layer in {model.embedding, model.head}:
        layer.weight = nn.Parameter(layer.weight.detach()[:vocab_size].clone())
    if model.config.tie_embeddings:
        model.head.weight = model.embedding.weight
    model.config.vocab_size = vocab_size


def store_matrices(model: GPT, dtype: torch.dtype) -> None:
    """Store a frozen model's matrices in this precision once; autocast would convert them at every token.

    The norms stay as they are, and so does an embedding that would lose by it: there the sum of the layers begins.
    """
    embedding = model.embedding.weight
    exact = torch.equal(embedding, embedding.to(dtype))  # it came in this precision
    for module in model.modules():
        if isinstance(module, nn.Linear) or (module is model.embedding and exact):
            for name, parameter in module.named_parameters(recurse=False):
                setattr(
                    module, name, nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
                )
    if exact and model.config.tie_embeddings:
        model.head.weight = model.embedding.weight  # one tensor again

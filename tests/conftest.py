"""Small models for the tests. Random weights so large that distributions are far from uniform."""

import os

# The models are small, and two threads wait for each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from data.tokenizer import load_tokenizer
from model import GPT, GPTConfig
from rollout import Rollout, put_back, response_states


def tiny(seed: int, **sizes) -> GPT:
    """A random GPT over 37 tokens. Its logits have a standard deviation of about 1.5."""
    defaults = dict(
        vocab_size=37,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        head_dim=8,
        d_model=16,
        d_ff=24,
        max_seq_len=64,
    )
    config = GPTConfig(**(defaults | sizes))
    torch.manual_seed(seed)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.4)
    return model


def response_logits(model: GPT, rollout: Rollout, select: torch.Tensor) -> torch.Tensor:
    """The training forward's logits of the selected tokens.  (M, V)"""
    states = response_states(model, rollout, select)  # (M, C)
    return model.head(states)


def own_logprobs(logprobs: torch.Tensor, rollout: Rollout, select: torch.Tensor) -> torch.Tensor:
    """Of (M, V), each selected token's own entry, and 0 elsewhere.  (N, T)"""
    tokens = rollout.tokens[select]  # (M,)
    own = logprobs.gather(1, tokens[:, None])[:, 0]  # (M,)
    return put_back(own, select)


@pytest.fixture(scope="session")
def tokenizer():
    return load_tokenizer()

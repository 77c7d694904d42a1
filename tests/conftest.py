"""Small models for the tests: random weights large enough that distributions are far from uniform."""

import os

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # small models; and two threads wait for each other on a busy machine

import pytest
import torch

from data.tokenizer import load_tokenizer
from model import GPT, GPTConfig
from rollout import put_back, response_states


def tiny(seed: int, **sizes) -> GPT:
    """A random GPT over 37 tokens; its logits have a standard deviation of about 1.5."""
    torch.manual_seed(seed)
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
    model = GPT(GPTConfig(**(defaults | sizes))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.4)
    return model


def response_logits(model, rollout, select) -> torch.Tensor:
    """The training forward's logits of the selected tokens.  (M, V)"""
    return model.head(response_states(model, rollout, select))


def own_logprobs(logprobs, rollout, select) -> torch.Tensor:
    """Of (M, V), each selected token's own entry, 0 elsewhere.  (N, T)"""
    return put_back(logprobs.gather(1, rollout.tokens[select][:, None])[:, 0], select)


@pytest.fixture(scope="session")
def tokenizer():
    return load_tokenizer()

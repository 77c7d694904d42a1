r"""The tokenizer: byte-level BPE, encoded by tiktoken, trained on the project's own problems.

The pattern cuts as Qwen's does, so that word boundaries and reasoning steps fall on whole tokens: a word takes the
space before it, every digit stands alone, and a full stop takes the blank line after it (".\n\n" is one token).
results/tokenizer.py trained it. support/models/tokenizers.py makes the same kind of object of other people's tokenizers.
"""

import base64
from pathlib import Path

import tiktoken
import torch
from torch import Tensor

PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHIPPED = Path(__file__).parent / "tokenizer.tiktoken"
SAMPLE = "It's 1234 + 5 = 1239.\n\n  So (he) has\n\n\n9 "  # which tokenizers cut in different ways


class Tokenizer:
    """Text to token ids and back. A subclass has `encode`."""

    def __init__(
        self, tokens: list[bytes], special: dict[str, int], end: int | list[int], pad: int
    ):
        self.tokens = tokens  # by id; b"" if an id has no text
        self.special = special  # ids of tokens without text, by name
        self.end = end  # finishes a response, as does each of several
        self.pad = pad  # fills the rows of a batch; is no end
        self.closing = (
            end[0] if isinstance(end, list) else end
        )  # the end that a taught response has

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of a text. Names of special tokens are text in it: no text forges an end. ValueError if unspellable."""
        raise NotImplementedError

    def decode(self, ids: list[int]) -> str:
        """Text of ids, special tokens left out; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.tokens[i] for i in ids).decode("utf-8", errors="replace")

    def prompt(self, question: str, template: str = "{question}") -> list[int]:
        """Ids that a model reads before it answers: `template` with the question in it, and a blank line."""
        return self.encode(template.replace("{question}", question) + "\n\n")

    def drop_unused(self) -> int:
        """Forget the ids behind the last one with text or a name, of which a model may have more; how many are left."""
        last = max(*self.special.values(), *(i for i, token in enumerate(self.tokens) if token))
        del self.tokens[last + 1 :]
        return self.vocab_size

    def same_as(self, other: "Tokenizer") -> bool:
        """Whether an id stands for the same text in both, and both cut a sample of text alike."""
        same_ids = (self.tokens, self.special) == (other.tokens, other.special)
        return same_ids and self.encode(SAMPLE) == other.encode(SAMPLE)

    def boundary(self, vocab_size: int | None = None) -> Tensor:
        """Which tokens begin a word, that is, begin with a space (the `word` schedule).  (V,) bool"""
        return self._mask(lambda token: token.startswith(b" "), vocab_size)

    def delimiter(self, vocab_size: int | None = None) -> Tensor:
        """Which tokens end a reasoning step, that is, contain a blank line (the `step` schedule).  (V,) bool"""
        return self._mask(lambda token: b"\n\n" in token, vocab_size)

    def halves(self, vocab_size: int | None = None) -> tuple[Tensor, Tensor]:
        r"""Which tokens end with "\n", and which begin with it: two that meet make a blank line.  (V,) bool each"""
        ends = self._mask(lambda token: token.endswith(b"\n"), vocab_size)
        begins = self._mask(lambda token: token.startswith(b"\n"), vocab_size)
        return ends, begins

    def _mask(self, rule, vocab_size: int | None) -> Tensor:
        """(V,) bool. A model's vocabulary may be larger than its tokenizer's: ids without text are False."""
        mask = torch.zeros(vocab_size or self.vocab_size, dtype=torch.bool)  # (V,)
        mask[: self.vocab_size] = torch.tensor([rule(token) for token in self.tokens])
        return mask


class Tiktoken(Tokenizer):
    def __init__(self, ranks: dict[bytes, int]):
        end, pad = len(ranks), len(ranks) + 1
        super().__init__([*ranks, b"", b""], {"<|end|>": end, "<|pad|>": pad}, end, pad)
        self.encoding = tiktoken.Encoding(
            "tandem", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={}
        )

    def encode(self, text: str) -> list[int]:
        return self.encoding.encode_ordinary(text)


def load_tokenizer(path: str | Path = SHIPPED) -> Tokenizer:
    """The tokenizer of a `.tiktoken` file: a line a token, its bytes in base64 and its rank. May raise ValueError."""
    try:
        lines = [line.split() for line in Path(path).read_bytes().splitlines()]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
    except (OSError, ValueError):
        raise ValueError(
            f"{path} can't be read or is not a .tiktoken file; run python -m results.tokenizer"
        ) from None
    return Tiktoken(ranks)

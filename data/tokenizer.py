r"""The tokenizer: byte-level BPE, encoded by tiktoken, trained on the project's own problems.

The pattern cuts as Qwen's does, so that word boundaries and reasoning steps fall on whole tokens.
A word takes the space before it, every digit stands alone, and a full stop takes the blank line
after it: ".\n\n" is one token. results/tokenizer.py trained the tokenizer.
support/models/tokenizers.py makes the same kind of object of other people's tokenizers.
"""

import base64
from pathlib import Path

import tiktoken
import torch
from torch import Tensor

PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHIPPED = Path(__file__).parent / "tokenizer.tiktoken"
SAMPLE = "It's 1234 + 5 = 1239.\n\n  So (he) has\n\n\n9 "  # tokenizers cut it in different ways


class Tokenizer:
    """Text to token ids and back. A subclass has `encode`."""

    def __init__(
        self, tokens: list[bytes], special: dict[str, int], end: int | list[int], pad: int
    ):
        self.tokens = tokens  # by id; b"" if an id has no text
        self.special = special  # ids of tokens without text, by name
        self.end = end  # id that finishes a response, or a list of such ids
        self.pad = pad  # id that fills the rows of a batch; no end
        self.closing = end[0] if isinstance(end, list) else end  # the end of a taught response

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of a text. ValueError if no tokens spell it.

        The name of a special token is only text in it, so no text forges an end.
        """
        raise NotImplementedError

    def decode(self, ids: list[int]) -> str:
        """Text of ids, special tokens left out; bytes that are no UTF-8 become U+FFFD."""
        text = b"".join(self.tokens[i] for i in ids)
        return text.decode("utf-8", errors="replace")

    def prompt(self, question: str, template: str = "{question}") -> list[int]:
        """Ids of the question in `template` and a blank line: a model reads them, then answers."""
        text = template.replace("{question}", question)
        return self.encode(text + "\n\n")

    def drop_unused(self) -> int:
        """Forget the ids behind the last one with text or a name. The number of ids left.

        A model's vocabulary may be padded with such ids.
        """
        with_text = [i for i, token in enumerate(self.tokens) if token]
        last = max([*self.special.values(), *with_text])
        del self.tokens[last + 1 :]
        return self.vocab_size

    def same_as(self, other: "Tokenizer") -> bool:
        """Whether an id stands for the same text in both, and both cut a sample of text alike."""
        if self.tokens != other.tokens or self.special != other.special:
            return False
        return self.encode(SAMPLE) == other.encode(SAMPLE)

    def boundary(self, vocab_size: int | None = None) -> Tensor:
        """Tokens that begin a word, that is, with a space: for the schedule `word`.  (V,) bool"""
        return self._mask(lambda token: token.startswith(b" "), vocab_size)

    def delimiter(self, vocab_size: int | None = None) -> Tensor:
        """Tokens with a blank line, which end a reasoning step: for `step`.  (V,) bool"""
        return self._mask(lambda token: b"\n\n" in token, vocab_size)

    def halves(self, vocab_size: int | None = None) -> tuple[Tensor, Tensor]:
        r"""Tokens that end with "\n", and tokens that begin with it.  (V,) bool each

        Where one follows the other, the two make a blank line.
        """
        ends = self._mask(lambda token: token.endswith(b"\n"), vocab_size)
        begins = self._mask(lambda token: token.startswith(b"\n"), vocab_size)
        return ends, begins

    def _mask(self, rule, vocab_size: int | None) -> Tensor:
        """Whether the rule holds for each token.  (V,) bool

        A model's vocabulary may be larger than its tokenizer's. Ids without text are False.
        """
        mask = torch.zeros(vocab_size or self.vocab_size, dtype=torch.bool)  # (V,)
        holds = [rule(token) for token in self.tokens]
        mask[: self.vocab_size] = torch.tensor(holds)
        return mask


class Tiktoken(Tokenizer):
    """A tokenizer by tiktoken, whose last two ids are the end and the padding."""

    def __init__(self, ranks: dict[bytes, int]):
        end = len(ranks)
        pad = end + 1
        tokens = [*ranks, b"", b""]
        super().__init__(tokens, {"<|end|>": end, "<|pad|>": pad}, end, pad)
        self.encoding = tiktoken.Encoding(
            "tandem", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={}
        )

    def encode(self, text: str) -> list[int]:
        return self.encoding.encode_ordinary(text)


def load_tokenizer(path: str | Path = SHIPPED) -> Tokenizer:
    """The tokenizer of a `.tiktoken` file. ValueError if it can't be read.

    A line has a token's bytes in base64, and its rank.
    """
    ranks = {}
    try:
        for line in Path(path).read_bytes().splitlines():
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
    except (OSError, ValueError):
        raise ValueError(
            f"{path} can't be read or is not a .tiktoken file; run python -m results.tokenizer"
        ) from None
    return Tiktoken(ranks)

r"""The tokenizer: byte-level BPE, encoded and decoded by tiktoken, trained here on the project's own problems.

    python -m data.tokenizer           # train it again: rewrites data/tokenizer.tiktoken, byte for byte

The pattern cuts as Qwen's does, so that word boundaries and reasoning steps fall on whole tokens: a word takes the
space before it, every digit stands alone, and a full stop takes the blank line after it (".\n\n" is one token).
"""

import base64
import itertools
from collections import Counter
from pathlib import Path

import regex  # tiktoken's own dependency
import tiktoken
import torch
from torch import Tensor
from tqdm import tqdm

from data.problems import take, write_solution

PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHIPPED = Path(__file__).parent / "tokenizer.tiktoken"
VOCAB_SIZE = 512  # the two special tokens included


class Tokenizer:
    """Text to token ids and back. `end` finishes a response, `pad` fills the rows of a batch; they are two tokens."""

    def __init__(self, ranks: dict[bytes, int], pattern: str, end: str = "<|end|>", pad: str = "<|pad|>"):
        special = {end: len(ranks), pad: len(ranks) + 1}
        self.encoding = tiktoken.Encoding("tandem", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        self.end, self.pad = special[end], special[pad]
        self.vocab_size = self.encoding.n_vocab
        self._bytes = [b""] * self.vocab_size  # special tokens have no text
        for token_bytes, token in ranks.items():
            self._bytes[token] = token_bytes

    def encode(self, text: str) -> list[int]:
        """Ids of a text. The names of special tokens are ordinary text here: no input can forge an end."""
        return self.encoding.encode_ordinary(text)

    def count(self, text: str) -> int:
        """The number of tokens in a text."""
        return len(self.encode(text))

    def decode(self, ids: list[int]) -> str:
        """Text of ids, special tokens left out; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self._bytes[token] for token in ids).decode("utf-8", errors="replace")

    def boundary(self, vocab_size: int | None = None) -> Tensor:
        """Which tokens begin a word, that is, begin with a space (the `word` schedule).  (V,) bool"""
        return self._mask(lambda token_bytes: token_bytes.startswith(b" "), vocab_size)

    def delimiter(self, vocab_size: int | None = None) -> Tensor:
        """Which tokens end a reasoning step, that is, contain a blank line (the `step` schedule).  (V,) bool"""
        return self._mask(lambda token_bytes: b"\n\n" in token_bytes, vocab_size)

    def _mask(self, rule, vocab_size: int | None) -> Tensor:
        """A model's vocabulary may be larger than its tokenizer's: ids without text are False."""
        mask = torch.zeros(vocab_size or self.vocab_size, dtype=torch.bool)  # (V,)
        mask[: self.vocab_size] = torch.tensor([rule(token_bytes) for token_bytes in self._bytes])
        return mask


def load_tokenizer(path: str | Path | None = None) -> Tokenizer:
    """The tokenizer of a `.tiktoken` file (a line a token: its bytes in base64, its rank); the shipped one by default."""
    path = Path(path or SHIPPED)
    try:
        lines = [line.split() for line in path.read_bytes().splitlines()]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
    except OSError as error:
        raise ValueError(
            f"tokenizer {path} can't be read ({error.strerror}); `python -m data.tokenizer` makes it"
        ) from None
    except ValueError:
        raise ValueError(f"{path} is not a .tiktoken file; `python -m data.tokenizer` makes one") from None
    return Tokenizer(ranks, PATTERN)


def train_bpe(text: str, n_tokens: int, pattern: str = PATTERN) -> dict[bytes, int]:
    """Byte-pair encoding: begin with the 256 bytes, then merge the commonest pair of neighbours until n_tokens are there.

    Of equally common pairs the first in byte order is merged, so the result depends on the text alone.
    """
    words = Counter(tuple(bytes([b]) for b in word.encode()) for word in regex.findall(pattern, text))
    ranks = {bytes([b]): b for b in range(256)}
    for rank in tqdm(range(256, n_tokens), desc="merges"):
        pairs = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        if not pairs:
            raise ValueError(f"the text has pairs for {rank} tokens only, {n_tokens} were asked for: give more text")
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        ranks[b"".join(best)] = rank
        merged = Counter()
        for word, count in words.items():
            merged[_merge(word, best)] += count
        words = merged
    return ranks


def _merge(word: tuple[bytes, ...], pair: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    """The word with every occurrence of the pair, from the left, made one token."""
    out, i = [], 0
    while i < len(word):
        step = 2 if word[i : i + 2] == pair else 1
        out.append(b"".join(word[i : i + step]))
        i += step
    return tuple(out)


def main() -> None:
    sample = take("train", 4000, seed="tokenizer")
    text = "".join(p.prompt + write_solution(p, language) + "\n" for p in sample for language in ("plain", "jargon"))
    ranks = train_bpe(text, VOCAB_SIZE - 2)
    SHIPPED.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
    print(f"{SHIPPED}: {len(ranks)} tokens and 2 special ones")


if __name__ == "__main__":
    main()

r"""The tokenizer: byte-level BPE, encoded and decoded by tiktoken, trained here on the project's own problems.

    python -m data.tokenizer           # train it again: rewrites data/tokenizer.tiktoken, byte for byte

The pattern cuts as Qwen's does, so that word boundaries and reasoning steps fall on whole tokens: a word takes the
space before it, every digit stands alone, and a full stop takes the blank line after it (".\n\n" is one token).
The same class serves the tokenizers of other people's models, which data/foreign.py reads.
"""

import base64
import itertools
import re
import unicodedata
from collections import Counter
from pathlib import Path

import regex  # tiktoken's own dependency
import tiktoken
import torch
from torch import Tensor
from tqdm import tqdm

from cli import UserError
from data.problems import take, write_solution

PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHIPPED = Path(__file__).parent / "tokenizer.tiktoken"
VOCAB_SIZE = 512  # the two special tokens included


class Tokenizer:
    """Text to token ids and back. `end` finishes a response, `pad` fills the rows of a batch; they are two tokens.

    tokens: the bytes of each token and its id, in the order of merging (single bytes first). pattern: where text is cut
    before anything is merged. special: ids that have a name and no text. added: ids that have text, which no text is
    encoded to. nfc: text is normalized first. turn: what a model reads before it answers a `{question}`, from which white
    space is stripped if `trim`; in it alone the names of special and added tokens stand for these. chat_template: where
    the turn is from, kept for an export. The attribute `template` is a run's own: what it asks with a `{question}`.
    """

    def __init__(
        self,
        tokens: dict[bytes, int],
        pattern: str,
        special: dict[str, int],
        end: int,
        pad: int,
        *,
        added: dict[str, int] | None = None,
        vocab_size: int | None = None,
        nfc: bool = False,
        turn: str = "{question}\n\n",
        trim: bool = False,
        chat_template: str | None = None,
    ):
        ranks = {token: rank for rank, token in enumerate(tokens)}
        self.encoding = tiktoken.Encoding("tandem", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        self.tokens, self.pattern, self.special, self.added = tokens, pattern, special, added or {}
        self.end, self.pad, self.nfc, self.turn, self.trim, self.chat_template = (
            end,
            pad,
            nfc,
            turn,
            trim,
            chat_template,
        )
        self.template = "{question}"
        self._ids = list(tokens.values())  # by rank
        self.vocab_size = vocab_size or 1 + max(*self._ids, *special.values(), *self.added.values())
        self._bytes = [b""] * self.vocab_size  # special tokens have no text
        for token, i in (tokens | {name.encode(): i for name, i in self.added.items()}).items():
            self._bytes[i] = token
        self._known = bytes(b for b in range(256) if bytes([b]) in tokens)
        names = special | self.added
        either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        self._turn = [names.get(part, part) for part in re.split(f"({either})", turn) if part]

    def encode(self, text: str) -> list[int]:
        """Ids of a text. The names of special tokens are ordinary text here: no input can forge an end.

        A UserError for a character that the vocabulary can't spell: SmolLM2's lacks 21 of the 256 bytes.
        """
        if self.nfc:
            text = unicodedata.normalize("NFC", text)
        if len(self._known) < 256:  # tiktoken would panic
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # as it does itself
            if text.encode().translate(None, self._known):
                lost = next(c for c in text if c.encode().translate(None, self._known))
                raise UserError(
                    f"the tokenizer has no tokens for {lost!r} (U+{ord(lost):04X}); take it out of the text"
                )
        return [self._ids[rank] for rank in self.encoding.encode_ordinary(text)]

    def prompt(self, question: str) -> list[int]:
        """Ids of what a model reads before it answers: its own chat template for one turn, or question and blank line.

        What is asked in it is the run's template with the question in it.
        """
        question = self.template.replace("{question}", question)
        question = question.strip() if self.trim else question
        parts = [[p] if isinstance(p, int) else self.encode(p.replace("{question}", question)) for p in self._turn]
        return list(itertools.chain.from_iterable(parts))

    def count(self, question: str) -> int:
        """The number of tokens that a model reads before it answers."""
        return len(self.prompt(question))

    def same_as(self, other: "Tokenizer") -> bool:
        """Whether the two make the same ids of every text."""
        names = ("tokens", "pattern", "special", "added", "nfc", "vocab_size")
        return all(getattr(self, name) == getattr(other, name) for name in names)

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
    tokens = dict(sorted(ranks.items(), key=lambda item: item[1]))
    special = {"<|end|>": len(tokens), "<|pad|>": len(tokens) + 1}
    return Tokenizer(tokens, PATTERN, special, *special.values())


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

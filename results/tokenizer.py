"""Byte-pair encoding of the project's own problems: `python -m results.tokenizer` makes the shipped tokenizer again.

It rewrites data/tokenizer.tiktoken byte for byte.
"""

import base64
import itertools
from collections import Counter

import regex
from tqdm import tqdm

from data.problems import first_problems, write_solution
from data.tokenizer import PATTERN, SHIPPED

N_TOKENS = 510  # the vocabulary of 512, but for the two special tokens


def train_bpe(text: str, n_tokens: int, pattern: str = PATTERN) -> dict[bytes, int]:
    """Byte-pair encoding: from the 256 bytes on, merge the commonest pair of neighbours until there are n_tokens.

    Of equally common pairs the first in byte order is merged, so the result depends on the text alone.
    """
    words = Counter(
        tuple(bytes([b]) for b in word.encode()) for word in regex.findall(pattern, text)
    )
    ranks = {bytes([b]): b for b in range(256)}
    for rank in tqdm(range(256, n_tokens), desc="merges"):
        pairs = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        if not pairs:
            raise ValueError(
                f"the text has pairs for {rank} tokens only, {n_tokens} were asked for: give more text"
            )
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        ranks[b"".join(best)] = rank
        words = {merge(word, best): count for word, count in words.items()}
    return ranks


def merge(word: tuple[bytes, ...], pair: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    """The word with every occurrence of the pair, from the left, made one token."""
    out = []
    for part in word:
        if out and (out[-1], part) == pair:
            out[-1] += part  # longer than the pair's first part, so it never begins another
        else:
            out.append(part)
    return tuple(out)


def main() -> None:
    sample = first_problems("train", 4000, seed="tokenizer")
    text = "".join(
        f"{p.question}\n\n{write_solution(p, how)}\n" for p in sample for how in ("plain", "jargon")
    )
    ranks = train_bpe(text, N_TOKENS)
    SHIPPED.write_bytes(
        b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
    )
    print(f"{SHIPPED}: {len(ranks)} tokens and 2 special ones")


if __name__ == "__main__":
    main()

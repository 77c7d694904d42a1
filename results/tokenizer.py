"""Byte-pair encoding of the project's own problems: the shipped tokenizer, made again.

python -m results.tokenizer     # writes data/tokenizer.tiktoken, byte for byte the same
"""

import base64
import itertools
from collections import Counter

import regex
from tqdm import tqdm

from data.problems import end_with_pipe, first_problems, write_solution
from data.tokenizer import PATTERN, SHIPPED

N_TOKENS = 510  # the vocabulary of 512, but for the two special tokens


def train_bpe(text: str, n_tokens: int, pattern: str = PATTERN) -> dict[bytes, int]:
    """From the 256 bytes on, merge the commonest pair of neighbours until there are n_tokens.

    Of equally common pairs the first in byte order is merged: the result depends on the text alone.
    """
    words = Counter()
    for word in regex.findall(pattern, text):
        letters = tuple(bytes([b]) for b in word.encode())
        words[letters] += 1
    ranks = {bytes([b]): b for b in range(256)}
    for rank in tqdm(range(256, n_tokens), desc="merges"):
        pairs = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        if not pairs:
            problem = f"the text has pairs for {rank} tokens only, {n_tokens} were asked for"
            raise ValueError(f"{problem}: give more text")
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
    end_with_pipe()
    text = ""
    for problem in first_problems("train", 4000, seed="tokenizer"):
        for language in ("plain", "jargon"):
            text += f"{problem.question}\n\n{write_solution(problem, language)}\n"
    ranks = train_bpe(text, N_TOKENS)
    lines = b""
    for token, rank in ranks.items():
        lines += base64.b64encode(token) + b" %d\n" % rank
    SHIPPED.write_bytes(lines)
    print(f"{SHIPPED}: {len(ranks)} tokens and 2 special ones")


if __name__ == "__main__":
    main()

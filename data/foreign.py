"""Other people's tokenizers: byte-level BPE from a tokenizer.json or a GGUF file's metadata, and back to a tokenizer.json.

Those of Llama 3, Qwen2 and 3, SmolLM2 and GPT-2 become a `Tokenizer`, and encode every text as the tokenizers library does
when it is told of no special tokens (but for a few characters that are newer than Python's Unicode tables). pretrained.py
loads the models that go with them.

    (run / "tokenizer").mkdir(); save_tokenizer(tokenizer, run / "tokenizer")   # what a run keeps
    tokenizer = directory_tokenizer(run / "tokenizer")                          # the same ids, end, pad and prompts
"""

import itertools
import json
import re
from pathlib import Path

from cli import UserError
from data.tokenizer import Tokenizer

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Digits are cut out one by one, then GPT2 is applied to what lies between, where white space before a digit is at an end.
DIGITS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
GGUF_PATTERNS = {"gpt-2": GPT2, "smollm": DIGITS, "qwen2": QWEN, "llama-bpe": LLAMA_3}
_printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTES = {chr(b): b for b in _printable} | {  # how GPT-2 writes the 256 bytes in letters
    chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in _printable)
}
LETTERS = {b: letter for letter, b in BYTES.items()}


def directory_tokenizer(directory: Path, vocab_size: int | None = None) -> Tokenizer | None:
    """The tokenizer of a directory (tokenizer.json, tokenizer_config.json); None if it has none of byte-level BPE.

    vocab_size: the model's, which may be larger than the tokenizer's; a tokenizer that we saved knows it. UserError if the
    files can't be read, or cut, normalize or merge text in a way that isn't supported.
    """
    path, beside = directory / "tokenizer.json", directory / "tokenizer_config.json"
    if not path.exists():
        return None
    content, settings = read_json(path), read_json(beside) if beside.exists() else {}
    try:
        model = content["model"]
        if model.get("type", "BPE") != "BPE" or model.get("byte_fallback"):
            return None
        normalizer = (content.get("normalizer") or {}).get("type")
        odd = [f"model.{k}" for k in ("dropout", "continuing_subword_prefix", "end_of_word_suffix") if model.get(k)]
        odd += [f"normalizer {normalizer}"] * (normalizer not in (None, "NFC"))
        if odd:
            raise UserError(
                f"{path}: {', '.join(odd)} isn't supported; give a byte-level BPE of Llama 3, Qwen, SmolLM2"
            )
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        listed = {token["content"]: token for token in content.get("added_tokens", [])}
        ids = {name: token["id"] for name, token in listed.items()}
        end = _end(directory, settings, {i: name for name, i in ids.items()})
        bos = _name(settings.get("bos_token"))
        begins = settings.get("add_bos_token") or bos and bos in str(content.get("post_processor"))
        template = settings.get("chat_template")
        if isinstance(template, list):  # several: the one for plain chats
            template = {item["name"]: item["template"] for item in template}.get("default")
        jinja = directory / "chat_template.jinja"
        return _tokenizer(
            path,
            {token: i for token, i in model["vocab"].items() if token not in listed},
            merges,
            _pattern(path, content.get("pre_tokenizer") or {}),
            special={name: i for name, i in ids.items() if listed[name].get("special") or name == end},
            added={name: i for name, i in ids.items() if not listed[name].get("special") and name != end},
            whole=model.get("ignore_merges", False),
            nfc=normalizer == "NFC",
            template=jinja.read_text(encoding="utf-8") if jinja.exists() else template,
            bos=bos if begins else "",
            end=end,
            pad=_name(settings.get("pad_token")),
            vocab_size=vocab_size or settings.get("vocab_size"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} isn't in the form of the tokenizers library ({error!r}); download it again") from None


def _end(directory: Path, settings: dict, name_of: dict[int, str]) -> str | None:
    """The name of the token that ends a text, from the first file that says it."""
    if name := _name(settings.get("eos_token")):
        return name
    for path in (directory / "generation_config.json", directory / "config.json"):
        ids = read_json(path).get("eos_token_id") if path.exists() else None
        if ids is not None:
            return name_of.get(ids[0] if isinstance(ids, list) else ids)
    return None


def _name(token) -> str | None:
    """A token in a tokenizer_config.json, which may be the name or a description."""
    return token.get("content") if isinstance(token, dict) else token


def _pattern(path: Path, pre: dict) -> str:
    """One regular expression that cuts text as a chain of pre-tokenizers does."""
    *first, last = pre.get("pretokenizers") or [pre]
    if last.get("type") == "ByteLevel" and not last.get("add_prefix_space") and len(first) < 2:
        by_itself = last.get("use_regex", True)
        if not first and by_itself:
            return GPT2
        (step,) = first or [{}]
        if step.get("type") == "Digits" and step.get("individual_digits") and by_itself:
            return DIGITS
        plain = step.get("type") == "Split" and step["behavior"] == "Isolated" and not step["invert"]
        if plain and "Regex" in step["pattern"] and not by_itself:
            return step["pattern"]["Regex"]
    raise UserError(
        f"{path}: its pre_tokenizer isn't supported; give a tokenizer that cuts as GPT-2's, SmolLM2's, Llama 3's or Qwen's"
    )


def gguf_tokenizer(path: Path, fields: dict, vocab_size: int) -> Tokenizer | None:
    """The tokenizer in the metadata of a GGUF file; None if that has none of byte-level BPE. UserError as above."""
    f = {key.removeprefix("tokenizer.ggml."): value for key, value in fields.items()}
    if f.get("model") != "gpt2":
        return None
    pre = f.get("pre", "default")
    if pre not in GGUF_PATTERNS:
        raise UserError(f"{path}: pre-tokenizer {pre} isn't supported; give one of {', '.join(GGUF_PATTERNS)}")
    try:
        names, types = f["tokens"], f["token_type"]
        kinds = {k: {n: i for i, (n, t) in enumerate(zip(names, types, strict=True)) if t == k} for k in (1, 3, 4)}
        return _tokenizer(
            path,
            kinds[1],
            [tuple(merge.split(" ")) for merge in f["merges"]],
            GGUF_PATTERNS[pre],
            special=kinds[3],
            added=kinds[4],
            whole=pre == "llama-bpe",
            nfc=pre == "qwen2",
            template=f.get("tokenizer.chat_template"),
            bos=names[f["bos_token_id"]] if f.get("add_bos_token") else "",
            end=names[f["eos_token_id"]],
            pad=names[f["padding_token_id"]] if "padding_token_id" in f else None,
            vocab_size=vocab_size,
        )
    except UserError:
        raise
    except (LookupError, ValueError, TypeError) as error:
        raise UserError(f"{path} has a damaged tokenizer ({error!r}); download it again") from None


def _tokenizer(
    path, vocab, merges, pattern, *, special, added, whole, nfc, template, bos, end, pad, vocab_size
) -> Tokenizer:
    """A Tokenizer from what the files say: `vocab` and `merges` in GPT-2's letters, the rest by name."""
    try:
        spelled = {bytes(BYTES[letter] for letter in token): i for token, i in vocab.items()}
        pairs = [tuple(bytes(BYTES[letter] for letter in part) for part in merge) for merge in merges]
    except KeyError as error:
        raise UserError(f"{path} isn't byte-level: {error.args[0]!r} stands for no byte; give one that is") from None
    tokens = _in_order(path, spelled, pairs, whole)
    turn, chat_end, trim = _turn(path, template, bos)
    end = chat_end or end
    if end is None:
        raise UserError(f"{path} says nowhere which token ends a text; add eos_token to tokenizer_config.json")
    for name in [end, *re.findall(r"<\|\w+\|>", turn)]:
        if name not in special:
            raise UserError(f"{path} has no special token {name}, which a text needs; give the tokenizer of the model")
    ids = set(spelled.values()) | set(special.values()) | set(added.values())
    vocab_size = vocab_size or max(ids) + 1
    if max(ids) >= vocab_size:
        raise UserError(f"{path} has ids up to {max(ids)}, the model only {vocab_size} tokens; give those that fit")
    # What fills a batch is masked wherever it is: any id but the end serves, and best one that means nothing.
    beyond = (i for i in range(vocab_size) if i not in ids)
    idle = (i for name, i in reversed(special.items()) if name not in turn)
    named = [special[pad]] if pad in special else []
    filler = next(i for i in itertools.chain(named, beyond, idle, reversed(range(vocab_size))) if i != special[end])
    more = dict(added=added, vocab_size=vocab_size, nfc=nfc, turn=turn, trim=trim, chat_template=template)
    try:
        tokenizer = Tokenizer(tokens, pattern, special, special[end], filler, **more)
        sample = "".join(chr(c) for c in range(128) if bytes([c]) in tokens) * 2
        if tokenizer.decode(tokenizer.encode(sample)) != sample:  # tiktoken drops what the pattern passes over
            raise ValueError("it leaves out parts of a text")
    except ValueError as error:
        raise UserError(f"{path}: its pattern {pattern!r} isn't supported ({error}); give another tokenizer") from None
    return tokenizer


def _turn(path: Path, template: str | None, bos: str) -> tuple[str, str | None, bool]:
    """A chat template -> (what the model reads for a question, the token that ends its answer, whether that strips it)."""
    if not template:
        return bos + "{question}\n\n", None, False
    text = template.replace("\\n", "\n")  # as jinja's strings mean it
    if "<|im_start|>" in text:  # ChatML
        system = re.search(r"<\|im_start\|>system\n[^'\"{}<]+<\|im_end\|>\n", text)
        if system or not re.search(r"<\|im_start\|>system\n[^'\"{} ]", text):
            first = (system[0] if system else "") + "<|im_start|>user\n{question}<|im_end|>\n"
            reply = re.findall(r"<\|im_start\|>assistant\n[^'\"{]*", text) or ["<|im_start|>assistant\n"]
            return first + reply[-1], "<|im_end|>", False
    if "<|start_header_id|>" in text:  # Llama 3; from 3.1 on with a system message of two dates
        date = re.search(r'date_string = "([^"]*)"', text)
        says = f"Cutting Knowledge Date: December 2023\nToday Date: {date[1]}\n\n" if date else ""
        header = "<|start_header_id|>{}<|end_header_id|>\n\n".format
        system = f"{header('system')}{says}<|eot_id|>" if says else ""
        first = f"<|begin_of_text|>{system}{header('user')}{{question}}<|eot_id|>"
        return first + header("assistant"), "<|eot_id|>", True
    raise UserError(
        f"{path}: its chat template is neither ChatML nor Llama 3's; without any, a question is all it reads"
    )


def _in_order(path: Path, tokens: dict[bytes, int], merges: list[tuple[bytes, ...]], whole: bool) -> dict[bytes, int]:
    """The tokens in the order of merging, if tiktoken, which knows no pairs, then merges as these pairs say.

    tiktoken makes any two neighbours a token that together are one, and takes a piece that is one without merging
    (as do tokenizers with `ignore_merges`: `whole`). That is the same if merging a token's own bytes ends with a pair that
    is listed, or if all the pairs that make it are.
    """
    order = [token for token in tokens if len(token) == 1]
    ranks, pairs = {token: rank for rank, token in enumerate(order)}, set(merges)
    for pair in merges:
        token = b"".join(pair)
        if len(pair) != 2 or not {*pair, token} <= tokens.keys() or ranks.get(token, len(ranks) - 1) != len(ranks) - 1:
            raise UserError(f"{path}: its merge {pair} makes no token, or makes one again; give a whole tokenizer")
        ranks.setdefault(token, len(ranks))
    for token in tokens:
        if len(token) > 1:
            rank = ranks.setdefault(token, len(ranks))
            if tuple(_merged(token, ranks, rank)) not in pairs and not (
                whole and pairs.issuperset(_pairs(token, tokens))
            ):
                raise UserError(f"{path}: its merges don't lead to its token {token!r}; give a byte-level BPE")
    return {token: tokens[token] for token in ranks}


def _pairs(token: bytes, tokens: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """All pairs of tokens that make this one."""
    cuts = ((token[:i], token[i:]) for i in range(1, len(token)))
    return [(a, b) for a, b in cuts if a in tokens and b in tokens]


def _merged(token: bytes, ranks: dict[bytes, int], rank: int) -> list[bytes]:
    """What merging makes of a token's bytes before it would make the token."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        best, i = min((ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1))
        if best >= rank:
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def save_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, from which transformers and directory_tokenizer make the same."""
    ranks = {token: rank for rank, token in enumerate(tokenizer.tokens)}
    spell = lambda token: "".join(LETTERS[b] for b in token)
    merges = []
    for token, rank in ranks.items():
        if len(token) > 1:
            parts = _merged(token, ranks, rank)
            merges += [parts] if len(parts) == 2 else _pairs(token, tokenizer.tokens)
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False)
    listed = sorted((i, name) for name, i in (tokenizer.special | tokenizer.added).items())
    level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    split = dict(type="Split", pattern={"Regex": tokenizer.pattern}, behavior="Isolated", invert=False)
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [dict(id=i, content=n, **flags, special=n in tokenizer.special) for i, n in listed],
        "normalizer": {"type": "NFC"} if tokenizer.nfc else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,  # as tiktoken does
            # With the names of special tokens too: the library numbers anew those that it doesn't find here.
            "vocab": {spell(token): i for token, i in tokenizer.tokens.items()} | {name: i for i, name in listed},
            "merges": [[spell(part) for part in pair] for pair in merges],
        },
    }
    name_of = {i: name for name, i in tokenizer.special.items()}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "eos_token": name_of[tokenizer.end],
        "pad_token": name_of.get(tokenizer.pad),
        "chat_template": tokenizer.chat_template,
        "vocab_size": tokenizer.vocab_size,  # the model's
    }
    template, first = (
        tokenizer.chat_template,
        next((n for n in tokenizer.special if tokenizer.turn.startswith(n)), None),
    )
    if first and (template is None or "bos_token" in template):
        settings |= {"bos_token": first, "add_bos_token": template is None}
    write_json(directory / "tokenizer.json", content)
    write_json(directory / "tokenizer_config.json", settings)


def read_json(path: Path) -> dict:
    """The object in a file of a Hugging Face directory."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); give a whole Hugging Face directory") from None
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); download it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} isn't a JSON object; download it again")
    return content


def write_json(path: Path, content: dict) -> None:
    """Such a file."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

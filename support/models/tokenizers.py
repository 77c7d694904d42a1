"""Other people's byte-level BPE, by the tokenizers library: from a Hugging Face directory or a GGUF file, and back."""

import contextlib
import importlib
import json
import re
from datetime import datetime
from pathlib import Path

import jinja2.sandbox

from data.tokenizer import PATTERN, Tokenizer
from support.runs.options import UserError

SETTINGS = (
    "config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "generation_config.json",
)
FILES = ("tokenizer.json", "chat_template.jinja", *SETTINGS)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|" + PATTERN
LLAMA_3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
GGUF_PATTERNS = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "qwen2": [QWEN],
    "llama-bpe": [LLAMA_3],
}
REMEDY = "give a byte-level BPE tokenizer like Llama 3's, Qwen's, SmolLM2's or GPT-2's"
# The files write a printable byte as the character of that number, and the other bytes, in order, from U+0100 on.
OTHERS = [*range(33), *range(127, 161), 173]
LETTERS = {b: chr(b) for b in range(256)} | {b: chr(256 + i) for i, b in enumerate(OTHERS)}
BYTES = {ord(letter): b for b, letter in LETTERS.items()}


class LibraryTokenizer(Tokenizer):
    def __init__(self, files: dict[str, bytes], vocab_size: int | None = None):
        """From the files of a Hugging Face directory, by name. The model's vocabulary may be the larger one."""
        self.files, self.library = (
            files,
            package("tokenizers").Tokenizer.from_buffer(files["tokenizer.json"]),
        )
        self.library.no_truncation()
        self.library.no_padding()
        self.library.encode_special_tokens = True  # a special token's name in a text is text
        said = {}
        for name in SETTINGS:
            said |= {
                key: value
                for key, value in json.loads(files.get(name, b"{}")).items()
                if value is not None
            }
        names = {
            k: v["content"] if isinstance(v, dict) else v
            for k, v in said.items()
            if k.endswith("_token")
        }
        tokens, special = token_bytes(self.library, vocab_size or said.get("vocab_size"))
        self.missing = set(range(256)) - {token[0] for token in tokens if len(token) == 1}
        template = files.get("chat_template.jinja", b"").decode() or said.get("chat_template")
        prompt, self.trim, closing = "{question}\n\n", str, ""
        if template:
            try:
                prompt, self.trim, closing = rendered(template, names)
            except (
                jinja2.TemplateError,
                RecursionError,
                ValueError,
                TypeError,
                LookupError,
                AttributeError,
            ) as error:
                raise ValueError(
                    f"{error}; --chat-template none asks without its chat template"
                ) from None
        pattern = "|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "(?!)"
        self.parts = [special.get(part, part) for part in re.split(f"({pattern})", prompt) if part]
        if not template:
            letter = self.library.encode("a")
            self.parts[:0] = letter.ids[
                : letter.special_tokens_mask.index(0)
            ]  # the begin token, if it adds one
        ends = said.get("eos_token_id", special.get(names.get("eos_token"), []))
        ends = [*ends] if isinstance(ends, list) else [ends]
        ends += [i for name, i in special.items() if closing.startswith(name) and i not in ends]
        if not ends:
            raise ValueError(
                f"it has no special token {names.get('eos_token')} that ends a text; see its eos_token"
            )
        pads = [
            special.get(names.get("pad_token"), ends[0]),
            *reversed(special.values()),
            *range(len(tokens)),
        ]
        super().__init__(
            tokens, special, ends, pad=next(i for i in pads if i not in ends)
        )  # masked, so any will do
        self.closing = next((i for name, i in special.items() if closing.startswith(name)), ends[0])

    def encode(self, text: str) -> list[int]:
        for c in text:
            if self.missing.intersection(
                c.encode()
            ):  # SmolLM2's vocabulary lacks 21 of the 256 bytes
                raise ValueError(
                    f"the tokenizer has no tokens for {c!r} (U+{ord(c):04X}); take it out of the text"
                )
        return self.library.encode(text, add_special_tokens=False).ids

    def prompt(self, question: str, template: str = "{question}") -> list[int]:
        text, ids = self.trim(template.replace("{question}", question)), []
        for part in self.parts:
            ids += (
                [part] if isinstance(part, int) else self.encode(part.replace("{question}", text))
            )
        return ids


def token_bytes(library, vocab_size: int | None) -> tuple[list[bytes], dict[str, int]]:
    """The bytes of each id, b"" if it is special or unused, and the ids of special tokens by name."""
    vocab, added = library.get_vocab(), library.get_added_tokens_decoder()
    special = {token.content: i for i, token in sorted(added.items()) if token.special}
    largest = max(vocab.values())
    vocab_size = vocab_size or largest + 1
    if largest >= vocab_size:
        raise ValueError(f"it has ids up to {largest}, the model only {vocab_size} tokens")
    tokens = [b""] * vocab_size
    for name, i in vocab.items():
        if name not in special:
            tokens[i] = name.encode() if i in added else name.translate(BYTES).encode("latin-1")
    return tokens, special


def rendered(template: str | list, names: dict) -> tuple:
    """A chat template -> (the prompt for "{question}", what it does to the question, the text after an answer)."""
    if isinstance(template, list):  # several by name
        template = {one["name"]: one["template"] for one in template}["default"]
    more = {
        "raise_exception": jinja2.StrictUndefined,
        "strftime_now": datetime.now().strftime,
        "tools": None,
    }
    options = dict(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    chat = jinja2.sandbox.ImmutableSandboxedEnvironment(**options).from_string(
        template, names | more
    )
    user = {"role": "user", "content": "{question}"}
    prompt = chat.render(messages=[user], add_generation_prompt=True)
    spaced = chat.render(messages=[user | {"content": " {question} "}], add_generation_prompt=True)
    answered = chat.render(messages=[user, {"role": "assistant", "content": "{answer}"}])
    if prompt.count("{question}") != 1:
        raise ValueError("its chat template doesn't show a question once")
    return (
        prompt,
        str.strip if spaced == prompt else str,
        answered.partition("{answer}")[2].lstrip(),
    )


def directory_tokenizer(
    directory: Path, vocab_size: int | None = None, chat_template: str = "own"
) -> LibraryTokenizer | None:
    """The tokenizer of a directory; None if it has none of byte-level BPE. Raises UserError if it can't be used.

    Without its chat template (`none`) it asks in plain text: the question and a blank line.
    """
    if "ByteLevel" not in str(
        read_json(directory / "tokenizer.json", optional=True).get("decoder")
    ):
        return None
    with file_errors(directory, REMEDY):
        files = {
            name: (directory / name).read_bytes() for name in FILES if (directory / name).exists()
        }
        if chat_template == "none":
            files.pop("chat_template.jinja", None)
            said = read_json(directory / "tokenizer_config.json", optional=True)
            files["tokenizer_config.json"] = json.dumps(said | {"chat_template": None}).encode()
        return LibraryTokenizer(files, vocab_size)


def gguf_tokenizer(
    path: Path, fields: dict, vocab_size: int, chat_template: str = "own"
) -> LibraryTokenizer | None:
    """The tokenizer in a GGUF file's metadata; None if it has none of byte-level BPE. Otherwise as above."""
    if fields.get("tokenizer.ggml.model") != "gpt2":
        return None
    with file_errors(path, REMEDY):
        said = {key.removeprefix("tokenizer.ggml."): value for key, value in fields.items()}
        pre, tokens = said.get("pre", "default"), said["tokens"]
        if pre not in GGUF_PATTERNS:
            raise ValueError(f"pre-tokenizer {pre} isn't supported")
        kinds = dict(zip(tokens, said["token_type"], strict=True))  # 1 ordinary, 3 special, 4 added
        vocab = {name: i for i, name in enumerate(tokens) if kinds[name] in (1, 3, 4)}
        added = {name: kinds[name] == 3 for name in vocab if kinds[name] != 1}
        merges = [tuple(merge.split(" ")) for merge in said["merges"]]
        ids = {
            "bos_token": "bos_token_id",
            "eos_token": "eos_token_id",
            "pad_token": "padding_token_id",
        }
        settings = {name: tokens[said[key]] for name, key in ids.items() if key in said}
        settings["chat_template"] = (
            said.get("tokenizer.chat_template") if chat_template == "own" else None
        )
        begin = settings["bos_token"] if said.get("add_bos_token", pre == "llama-bpe") else None
        files = new_files(
            vocab,
            merges,
            GGUF_PATTERNS[pre],
            added,
            settings,
            pre == "llama-bpe",
            pre == "qwen2",
            begin,
        )
        return LibraryTokenizer(files, vocab_size)


def save_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    """Write the files that transformers and directory_tokenizer read: those it was read from, or new ones."""
    files = tokenizer.files if isinstance(tokenizer, LibraryTokenizer) else own_files(tokenizer)
    config = {"vocab_size": tokenizer.vocab_size, "eos_token_id": tokenizer.end}
    for name, content in (files | {"config.json": json.dumps(config).encode()}).items():
        (directory / name).write_bytes(content)


def own_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """Of our own tokenizer, which joins any two neighbours that are a token, the earliest token first."""
    spelled = [token.decode("latin-1").translate(LETTERS) for token in tokenizer.tokens if token]
    vocab = {letters: i for i, letters in enumerate(spelled)} | tokenizer.special
    cuts = [(letters[:i], letters[i:]) for letters in spelled for i in range(1, len(letters))]
    merges = [pair for pair in cuts if vocab.keys() >= {*pair}]
    end, pad = tokenizer.special
    return new_files(
        vocab, merges, [PATTERN], {end: True, pad: True}, {"eos_token": end, "pad_token": pad}
    )


def new_files(
    vocab, merges, patterns, added, settings: dict, whole=True, nfc=False, begin=None
) -> dict[str, bytes]:
    """tokenizer.json and tokenizer_config.json. `added`: the tokens that no merge makes, and whether special."""
    t = package("tokenizers")
    made = t.Tokenizer(t.models.BPE(vocab, merges, ignore_merges=whole))
    cuts = [t.pre_tokenizers.Split(t.Regex(pattern), "isolated") for pattern in patterns]
    letters = t.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer, made.decoder = (
        t.pre_tokenizers.Sequence([*cuts, letters]),
        t.decoders.ByteLevel(),
    )
    made.add_tokens(
        [t.AddedToken(name, special=special, normalized=False) for name, special in added.items()]
    )
    if nfc:
        made.normalizer = t.normalizers.NFC()
    if begin:
        made.post_processor = t.processors.TemplateProcessing(
            [begin, "$A"], special_tokens=[(begin, vocab[begin])]
        )
    settings |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    return {
        "tokenizer.json": made.to_str(True).encode(),
        "tokenizer_config.json": json.dumps(settings).encode(),
    }


def package(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError("{0} is missing: pip install {0}".format(name.partition(".")[0])) from None


@contextlib.contextmanager
def file_errors(path: Path, remedy: str, *more_errors: type[Exception]):
    """Within, whatever is wrong with the content of a file becomes a UserError: one line, with the remedy."""
    errors = (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        OSError,
        jinja2.TemplateError,
    )
    try:
        yield
    except (*errors, RecursionError, *more_errors) as error:
        reason = (
            f"it lacks {error}"
            if isinstance(error, KeyError)
            else getattr(error, "strerror", None) or error
        )
        raise UserError(f"{path} can't be used: {reason}; {remedy}") from None


def read_json(path: Path, optional: bool = False) -> dict:
    """The object in a JSON file; {} if the file is `optional` and isn't there. Raises UserError if it can't be read."""
    with file_errors(path, "give a whole Hugging Face directory"):
        return (
            {}
            if optional and not path.exists()
            else dict(json.loads(path.read_text(encoding="utf-8")))
        )

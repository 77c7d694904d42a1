"""Other people's byte-level BPE, by the tokenizers library.

It comes from a Hugging Face directory or a GGUF file, and goes back to a directory.
"""

import contextlib
import importlib
import json
import re
from datetime import datetime
from pathlib import Path

import jinja2.sandbox

from data.tokenizer import PATTERN, Tokenizer
from support.runs.options import UserError, quoted

SETTINGS_FILES = (
    "config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "generation_config.json",
)
TOKENIZER_FILES = ("tokenizer.json", "chat_template.jinja", *SETTINGS_FILES)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|" + PATTERN
LLAMA_3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
GGUF_PATTERNS = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "qwen2": [QWEN],
    "llama-bpe": [LLAMA_3],
}
GGUF_ROLES = {
    "bos_token_id": "bos_token",
    "eos_token_id": "eos_token",
    "padding_token_id": "pad_token",
}
# GGUF's kinds of tokens.
ORDINARY_TOKEN = 1
SPECIAL_TOKEN = 3
ADDED_TOKEN = 4
ANOTHER_TOKENIZER = "give a byte-level BPE tokenizer like Llama 3's, Qwen's, SmolLM2's or GPT-2's"
# The files write a printable byte as the character of that number. The other bytes are written, in
# order, as the characters from U+0100 on.
OTHERS = [*range(33), *range(127, 161), 173]
LETTERS = {b: chr(b) for b in range(256)}
LETTERS |= {b: chr(256 + i) for i, b in enumerate(OTHERS)}
BYTES = {ord(letter): b for b, letter in LETTERS.items()}


class LibraryTokenizer(Tokenizer):
    """A tokenizer of the tokenizers library, which asks questions in its model's chat template."""

    def __init__(self, files: dict[str, bytes], vocab_size: int | None = None):
        """From the files of a Hugging Face directory, by name.

        The model's vocabulary may be larger than the tokenizer's.
        """
        self.files = files
        self.library = package("tokenizers").Tokenizer.from_buffer(files["tokenizer.json"])
        self.library.no_truncation()
        self.library.no_padding()
        self.library.encode_special_tokens = True  # a special token's name in a text is text
        settings = settings_in(files)
        names = {}  # of the special tokens, by their role
        for key, value in settings.items():
            if key.endswith("_token"):
                names[key] = value["content"] if isinstance(value, dict) else value
        tokens, special = token_bytes(self.library, vocab_size or settings.get("vocab_size"))
        spelled = {token[0] for token in tokens if len(token) == 1}
        self.missing = set(range(256)) - spelled  # bytes without a token

        template = files.get("chat_template.jinja", b"").decode() or settings.get("chat_template")
        if template:
            prompt, self.trim, closing = self.in_template(template, names)
        else:
            prompt = "{question}\n\n"
            self.trim = str
            closing = ""
        longest_first = sorted(special, key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest_first)) or "(?!)"
        pieces = [piece for piece in re.split(f"({pattern})", prompt) if piece]
        self.parts = [special.get(piece, piece) for piece in pieces]  # texts, and ids of tokens
        if not template:
            self.parts = [*self.begin_tokens(), *self.parts]

        ends = settings.get("eos_token_id", special.get(names.get("eos_token"), []))
        ends = [*ends] if isinstance(ends, list) else [ends]
        closings = [i for name, i in special.items() if closing.startswith(name)]
        ends += [i for i in closings if i not in ends]
        if not ends:
            raise ValueError(
                f"it has no special token {names.get('eos_token')} that ends a text; "
                "see its eos_token"
            )
        own_pad = special.get(names.get("pad_token"), ends[0])
        # Padding is masked, so any token will do that is no end.
        candidates = [own_pad, *reversed(special.values()), *range(len(tokens))]
        pad = next(i for i in candidates if i not in ends)
        super().__init__(tokens, special, ends, pad=pad)
        self.closing = closings[0] if closings else ends[0]

    @staticmethod
    def in_template(template, names: dict) -> tuple:
        """`rendered`, or a ValueError that says how to do without the chat template."""
        faults = (RecursionError, ValueError, TypeError, LookupError, AttributeError)
        try:
            return rendered(template, names)
        except (jinja2.TemplateError, *faults) as error:
            raise ValueError(
                f"{error}; --chat-template none asks without its chat template"
            ) from None

    def begin_tokens(self) -> list[int]:
        """The ids that the library puts before a text, if it adds any."""
        letter = self.library.encode("a")
        return letter.ids[: letter.special_tokens_mask.index(0)]

    def encode(self, text: str) -> list[int]:
        for c in text:
            # SmolLM2's vocabulary lacks 21 of the 256 bytes.
            if self.missing.intersection(c.encode()):
                raise ValueError(
                    f"the tokenizer has no tokens for {c!r} (U+{ord(c):04X}); "
                    "take it out of the text"
                )
        return self.library.encode(text, add_special_tokens=False).ids

    def prompt(self, question: str, template: str = "{question}") -> list[int]:
        text = self.trim(template.replace("{question}", question))
        ids = []
        for part in self.parts:
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += self.encode(part.replace("{question}", text))
        return ids


def settings_in(files: dict[str, bytes]) -> dict:
    """The settings of all files as one dictionary. Later files win; null means nothing."""
    settings = {}
    for name in SETTINGS_FILES:
        for key, value in json.loads(files.get(name, b"{}")).items():
            if value is not None:
                settings[key] = value
    return settings


def token_bytes(library, vocab_size: int | None) -> tuple[list[bytes], dict[str, int]]:
    """The bytes of each id, and the ids of special tokens by name.

    A special or unused id has the bytes b"".
    """
    vocab = library.get_vocab()
    added = library.get_added_tokens_decoder()
    special = {token.content: i for i, token in sorted(added.items()) if token.special}
    largest = max(vocab.values())
    vocab_size = vocab_size or largest + 1
    if largest >= vocab_size:
        raise ValueError(f"it has ids up to {largest}, the model only {vocab_size} tokens")
    tokens = [b""] * vocab_size
    for name, i in vocab.items():
        if name in special:
            continue
        if i in added:
            tokens[i] = name.encode()
        else:
            tokens[i] = name.translate(BYTES).encode("latin-1")
    return tokens, special


def rendered(template: str | list, names: dict) -> tuple:
    """Three things that a chat template decides.

    They are the prompt for "{question}", the function that is applied to a question (str or
    str.strip), and the text after an answer.
    """
    if isinstance(template, list):  # several by name
        template = {one["name"]: one["template"] for one in template}["default"]
    known = names | {
        "raise_exception": jinja2.StrictUndefined,
        "strftime_now": datetime.now().strftime,
        "tools": None,
    }
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    chat = environment.from_string(template, known)
    user = {"role": "user", "content": "{question}"}
    padded = {"role": "user", "content": " {question} "}
    assistant = {"role": "assistant", "content": "{answer}"}
    prompt = chat.render(messages=[user], add_generation_prompt=True)
    of_padded = chat.render(messages=[padded], add_generation_prompt=True)
    answered = chat.render(messages=[user, assistant])
    if prompt.count("{question}") != 1:
        raise ValueError("its chat template doesn't show a question once")
    trim = str.strip if of_padded == prompt else str
    _, _, closing = answered.partition("{answer}")
    return prompt, trim, closing.lstrip()


def directory_tokenizer(
    directory: Path, vocab_size: int | None = None, chat_template: str = "own"
) -> LibraryTokenizer | None:
    """The tokenizer of a directory; None if it has none of byte-level BPE.

    With the chat_template `none` it asks in plain text: the question and a blank line. UserError
    if the tokenizer can't be used.
    """
    decoder = read_hf_json(directory / "tokenizer.json", optional=True).get("decoder")
    if "ByteLevel" not in str(decoder):
        return None
    with file_errors(directory, ANOTHER_TOKENIZER):
        files = {}
        for name in TOKENIZER_FILES:
            if (directory / name).exists():
                files[name] = (directory / name).read_bytes()
        if chat_template == "none":
            files.pop("chat_template.jinja", None)
            settings = read_hf_json(directory / "tokenizer_config.json", optional=True)
            settings["chat_template"] = None
            files["tokenizer_config.json"] = json.dumps(settings).encode()
        return LibraryTokenizer(files, vocab_size)


def gguf_tokenizer(
    path: Path, fields: dict, vocab_size: int, chat_template: str = "own"
) -> LibraryTokenizer | None:
    """The tokenizer in a GGUF file's metadata, as `directory_tokenizer` has it."""
    if fields.get("tokenizer.ggml.model") != "gpt2":
        return None
    with file_errors(path, ANOTHER_TOKENIZER):
        said = {key.removeprefix("tokenizer.ggml."): value for key, value in fields.items()}
        pre = said.get("pre", "default")
        tokens = said["tokens"]
        if pre not in GGUF_PATTERNS:
            raise ValueError(f"pre-tokenizer {pre} isn't supported")
        kind_of = dict(zip(tokens, said["token_type"], strict=True))
        vocab = {}
        added = {}
        for i, name in enumerate(tokens):
            kind = kind_of[name]
            if kind in (ORDINARY_TOKEN, SPECIAL_TOKEN, ADDED_TOKEN):
                vocab[name] = i
                if kind != ORDINARY_TOKEN:
                    added[name] = kind == SPECIAL_TOKEN
        merges = [tuple(merge.split(" ")) for merge in said["merges"]]
        settings = {}
        for key, name in GGUF_ROLES.items():
            if key in said:
                settings[name] = tokens[said[key]]
        settings["chat_template"] = None
        if chat_template == "own":
            settings["chat_template"] = said.get("tokenizer.chat_template")
        begins = said.get("add_bos_token", pre == "llama-bpe")
        files = new_files(
            vocab,
            merges,
            GGUF_PATTERNS[pre],
            added,
            settings,
            whole=pre == "llama-bpe",
            nfc=pre == "qwen2",
            begin=settings["bos_token"] if begins else None,
        )
        return LibraryTokenizer(files, vocab_size)


def save_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    """Write the files that transformers and directory_tokenizer read.

    They are those that the tokenizer was read from, or new ones of our own tokenizer.
    """
    if isinstance(tokenizer, LibraryTokenizer):
        files = dict(tokenizer.files)
    else:
        files = files_of_ours(tokenizer)
    config = {"vocab_size": tokenizer.vocab_size, "eos_token_id": tokenizer.end}
    files["config.json"] = json.dumps(config).encode()
    for name, content in files.items():
        (directory / name).write_bytes(content)


def files_of_ours(tokenizer: Tokenizer) -> dict[str, bytes]:
    """The files of our own tokenizer.

    It joins any two neighbours that together are a token, the earliest token first.
    """
    spelled = [token.decode("latin-1").translate(LETTERS) for token in tokenizer.tokens if token]
    vocab = {letters: i for i, letters in enumerate(spelled)} | tokenizer.special
    merges = []
    for letters in spelled:
        for i in range(1, len(letters)):
            first = letters[:i]
            second = letters[i:]
            if first in vocab and second in vocab:
                merges.append((first, second))
    end, pad = tokenizer.special
    added = {end: True, pad: True}
    settings = {"eos_token": end, "pad_token": pad}
    return new_files(vocab, merges, [PATTERN], added, settings)


def new_files(
    vocab, merges, patterns, added, settings: dict, whole=True, nfc=False, begin=None
) -> dict[str, bytes]:
    """tokenizer.json and tokenizer_config.json of byte-level BPE.

    `patterns` cut a text first. `added` are the tokens that no merge makes, and whether each is
    special. `whole`: a word that is a token isn't taken apart. `nfc`: texts are normalized.
    `begin`: a token that stands before each text.
    """
    t = package("tokenizers")
    library = t.Tokenizer(t.models.BPE(vocab, merges, ignore_merges=whole))
    steps = [t.pre_tokenizers.Split(t.Regex(pattern), "isolated") for pattern in patterns]
    steps.append(t.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    library.pre_tokenizer = t.pre_tokenizers.Sequence(steps)
    library.decoder = t.decoders.ByteLevel()
    tokens = []
    for name, special in added.items():
        tokens.append(t.AddedToken(name, special=special, normalized=False))
    library.add_tokens(tokens)
    if nfc:
        library.normalizer = t.normalizers.NFC()
    if begin:
        special_tokens = [(begin, vocab[begin])]
        single = [begin, "$A"]
        library.post_processor = t.processors.TemplateProcessing(
            single, special_tokens=special_tokens
        )
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings["clean_up_tokenization_spaces"] = False
    return {
        "tokenizer.json": library.to_str(True).encode(),
        "tokenizer_config.json": json.dumps(settings).encode(),
    }


def package(name: str):
    """Import a package of the extra `weights`. UserError if it isn't installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing = name.partition(".")[0]
        raise UserError(f"{missing} is missing: pip install {missing}") from None


def conversion(kind: str, source: str | Path, target: str | Path) -> str:
    """The command by which transformers writes a model or a tokenizer in the form read here."""
    load = f"A.from_pretrained({str(source)!r})"
    code = f"from transformers import {kind} as A; {load}.save_pretrained({str(target)!r})"
    return f"python -c {quoted(code)}"


@contextlib.contextmanager
def file_errors(path: Path, remedy: str, *more_errors: type[Exception]):
    """Within, any fault of a file's content becomes a UserError: one line, with the remedy."""
    errors = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError)
    errors += (jinja2.TemplateError, RecursionError)
    try:
        yield
    except (*errors, *more_errors) as error:
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, KeyError):
            reason = f"it lacks {error}"
        raise UserError(f"{path} can't be used: {reason}; {remedy}") from None


def read_hf_json(path: Path, optional: bool = False) -> dict:
    """The object in a JSON file; {} if the file is `optional` and isn't there.

    UserError if it can't be read.
    """
    with file_errors(path, "give a whole Hugging Face directory"):
        if optional and not path.exists():
            return {}
        return dict(json.loads(path.read_bytes()))

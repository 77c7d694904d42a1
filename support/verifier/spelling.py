"""The spelling of an answer: one character or command for each way to write it, before support/verifier/latex.py reads it."""

import re
import unicodedata
from functools import lru_cache

from support.verifier.values import require
from support.verifier.words import table

MAX_TEXT = 10_000  # characters
PLAIN_NUMBER = re.compile(
    r"([+-]?)(?:\\?\$)?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]*))?"
)  # +1,050.50
COMMA_GROUP = re.compile(r"(?<![\d.])(?<!\d,)[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)")  # 1,234
MIXED_NUMBER = re.compile(  # 2\frac{1}{2}, 2\frac12, 2 1/2, but neither an exponent nor an argument
    r"(?<![\d.^_}\]])(?<!frac|sqrt)(?<!binom)(\d+)(?:(?:[ ~]|\\[,;! ]){0,3}"
    r"\\[dtc]?frac ?(?:\{ ?(\d+) ?\}|(\d)) ?(?:\{ ?(\d+) ?\}|(\d)(?!\d))|(?:[ ~]|\\[,;! ]){1,3}(\d+) ?/ ?(\d+))"
)
LABEL = re.compile(r"""(?xi)  # Answer: 5  \text{The answer is }5  \text{Choice (D)}  Therefore x = 5
    (?P<open>\\(?:text|math)(?:bf|it|rm)?\s?\{)?\s?
    (?:(?:the\ )?(?:final\ |correct\ |best\ )?(?:answer\ choice|answer|choice|option|solution|result)
        (?:\ is)?(?:\s?[:=]\s?|\s(?=\W|.\W*$|[A-J][).:]))
    |(?:so|thus|hence|therefore)\b,?\s?|\\(?:therefore|implies|Rightarrow)\b)
    (?P<close>\s?\})?\s?(?=.)""")
GROUP = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
ENDS = r"([^][(){},;]+(?<!\\)[,;][^][(){},;]+)"
REALS = r"\\(?:mathbb|Bbb)\s?(?:\{\s?R\s?\}|R)"
ENVIRONMENT = r"(?s)\\begin\s*\{\s*(%s)\*?\s*\}(?:\[t\])?(.*)\\end\s*\{\s*\1\*?\s*\}"
REWRITES = [  # (a text without which nothing is to do, pattern, replacement), in this order
    ("$", r"\\\$", "¤"),  # a currency,
    ("$", r"^([^$]*)\$([^$]*)$", r"\1¤\2"),  # as is a single $ that no other closes
    ("$", r"\$", " "),
    ("S", r"\\(?:text|mathrm)\s?\{US ?\}\s?(?=¤)|\b(?:US|U\.S\.) ?(?=¤|dollar)", ""),
    ("Rs", r"\bRs\.? ?(?=\d)", "₹"),
    ("\\pounds", r"\\pounds\b", "£"),
    ("\\begin", r"\\\\\s?\[[-\d.]+ ?\w\w\]", r"\\\\"),  # \\[4pt]
    ("\\begin", ENVIRONMENT % "equation|multline|displaymath|math|center", lambda match: one_line(match[2])),
    ("\\begin", ENVIRONMENT % "aligned|align|flalign|split|gathered|gather|eqnarray", lambda match: one_line(match[2])),
    ("\\begin", r"(?s)\\left\s?\\\{\s*\\begin\s*\{(array|matrix)\}(?:\{[lcr|\s]*\})?(.*)\\end\s*\{\1\}\s*\\right(?:\s?\.|$)",
     r"\\begin{cases}\2\\end{cases}"),
    ("\\", rf"\\(?:[hv]?phantom|[hv]space\*?|tag|label)\s?{GROUP}|\\(?:kern|[hm]skip|mkern)\s?-?[\d.]+\s?[a-z]+", " "),
    ("\\", r"\^\s?(?:\{\s?(?:\\circ|\\degree)\s?\}|\\circ|\\degree)|\\degree", "°"),
    ("\\", r"\^\s?(?:\{\s?\\prime\s?\}|\\prime\b)", "'"),
    ("\\not", r"\\not\s?=", r"\\ne "),
    ("\\not", r"\\not\s?\\in\b", r"\\notin "),
    ("\\", r"\\mu\s?\\(?:text|mathrm)\s?\{\s?(?=[mgsLF]\b)", r"\\text{u"),  # 5\,\mu\text{m}
    ("\\O", r"(?<=\d)(?:\s|\\[,; ])*\\Omega\b", r"\\text{ ohm}"),
    ("bb", REALS + r"\s?(?:-|\\backslash|\\)\s?(?=\\?\{)", r"\\R\\setminus "),  # ℝ - {0}
    ("bb", REALS + r"\s?\^\s?(?:\{\s?\+\s?\}|\+)", r"(0,\\infty)"),
    ("bb", r"(?<=\\mathbb\{[A-Z]\})\^\s?\{?([+*])\}?", r"_\1"),  # ℤ^+
    ("bb", REALS + r"(?![a-zA-Z])", r"\\R "),
    ("{", r"\\(?:math(?:bb|cal|bf|it|frak|scr)|Bbb|boldsymbol|bm|mathrm(?=\{.\}\s?_))\s?\{\s?([A-Za-z])\s?\}", r" \1 "),
    ("{", r"\\(?:mathrm|text|rm)\s?\{\s?d\s?\}\s?(?=[a-zA-Z])", "d"),
    ("_", r"[(\[]\s?([0-9A-F]+(?:\.[0-9A-F]+)?)\s?[)\]]\s?(?=_\s?(?:\{\s?)?\d)", r"\1"),  # (101.1)_2
    ("base", r"^([0-9A-F]+)\s*(?:\\text\s?\{)?\s?\(?(?:in )?base\s?\}?\s?(\d+)\s?\)?\s?\}?$", r"\1_{\2}"),
    ("{}", r"(?<!\\)\{\}", ""),
    ("per cent", "per cent", "percent"),
    ("non-", "non-", "non"),
    ("...", r"\.\.\.", r"\\ldots "),
    ("+/-", r"\+/-", r"\\pm "),
    ("U", r"(?<=[)\]])\s?(?:\\text\s?\{\s?U\s?\}|U)\s?(?=[(\[])", r"\\cup "),
    ("[", rf"\]{ENDS}\[", r"(\1)"),  # ]1, 2[
    ("]", rf"\]{ENDS}\]", r"(\1]"),
    ("[", rf"\[{ENDS}\[", r"[\1)"),
    (")", r"(?:\\?\s)?\(\s?(?=[a-zA-Z]\s?\\text\s?\{[^{}]*constant\s?\})([^()]*)\)$", r" \\text{ where } \1"),
    (")", r"(?:\\?\s)?\(\s?([a-zA-Z]\s?(?:\\in\b|\\[gl]eq?\b|[<>]|∈)[^()]*)\)$", r", \1"),  # 2\pi k (k \in Z)
    (")", r"(?<=\d)\s?\(\s?([A-Za-z]{4,}|[A-Za-z]+ [A-Za-z ]+)\s?\)$", r" \\text{ \1}"),  # 9 (red apples)
    (")", r"^([A-J])\)$", r"\1"),
    (" ", r"(?<=\d) [xX] (?=\d)", "*"),
    ("10", r"(?<=\d)(?<!(?<![\d.])0)(?:\s|~|\\[,; ]|\\(?:text|mathrm)\s?\{)*[xX](?:\s|~|\\[,; ]|\})*(?=\{?10\b)", "*"),
    ("", r"(?<=\d)(?:\{,\}|,\\!\s{0,9}|\\[,;:! ]|~)(?=\d{3}(?!\d))", ""),  # 1{,}234  1\,234
    (" ", r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?![\d/.]| \d| ?\\[dtc]?frac)", lambda match: match[0].replace(" ", "")),
]  # fmt: skip
REWRITES = [(occurs, re.compile(pattern), new) for occurs, pattern, new in REWRITES]
CHARACTERS = table(
    "- − – — ‒ ⁻; ' ′ ’; * × · ⋅ ∙ ∗ ⁢; + ⁤; / ÷ ∕ ⁄; ≤ ⩽; ≥ ⩾; ≈ ≃; ° º; . 。; Z ℤ; N ℕ"
)
CHARACTERS |= {"√": "\\sqrt ", "∛": "\\sqrt[3]", "ℝ": "\\mathbb{R}", "…": "...", "⋯": "..."}


def normalize(text: str) -> str:
    if not text.isascii():
        text = re.sub("[⁰¹²³⁴-⁹⁺⁻ⁿ]+", r"^{\g<0>}", text)
        text = re.sub("[₀-₉]+", r"_{\g<0>}", text)
        text = re.sub(r"[µμ](?=[mgsLF]\b)", "u", text)
        text = "".join(char if char.isascii() else fold_character(char) for char in text)
        require(len(text) <= MAX_TEXT)  # one character can stand for eighteen
    if "\\\\" in text and "\\begin" not in text:
        text = re.sub(
            r"\\\\(?=[A-Za-z])", r"\\", text
        )  # \\frac, from a source that was escaped twice
    text = (
        text.lstrip(" \t\r\n*`").rstrip(" \t\r\n*`.,;:\\")
        if text[-3:] != "..."
        else text.lstrip(" \t\r\n*`")
    )
    if label := LABEL.match(text):
        rest = text[label.end() :].lstrip(" *")
        text = (rest.replace("}", "", 1) if label["open"] and not label["close"] else rest).rstrip(
            " ."
        )
    for occurs, pattern, new in REWRITES:
        if occurs in text:
            text = pattern.sub(new, text)
    return COMMA_GROUP.sub(comma_group, text.strip()) if "," in text else text.strip()


def one_line(lines: str) -> str:
    """The lines of an aligned environment are a list, but one that begins with = continues the line before."""
    if "\\begin" in lines:
        return lines
    lines = [line.replace("&", " ").strip(" .") for line in lines.split("\\\\")]
    return "".join((" " if line[:1] in "=<>+" else ", ") + line for line in lines if line).lstrip(
        " ,"
    )


def comma_group(match) -> str:
    r"""1,234 is a number, but (1,234) a pair; unless of 1 and 000, or other commas have spaces: \{1,000, 2,345\}."""
    before = match.string[: match.start()]
    inside = any(
        before.count(opening) > before.count(closing)
        for opening, closing in ("()", "[]", ("\\{", "\\}"))
    )
    return (
        match[0]
        if inside and ",0" not in match[0] and ", " not in match.string
        else match[0].replace(",", "")
    )


@lru_cache(maxsize=1024)
def fold_character(char: str) -> str:
    """Greek letters by name, vulgar fractions as \\frac, digits of any script and full-width forms as ASCII."""
    if char in CHARACTERS:
        return CHARACTERS[char]
    if char.isdecimal():
        return str(int(char))
    if (category := unicodedata.category(char)) in (
        "Zs",
        "Cf",
        "Sc",
    ):  # a space, a mark without width, a currency
        return {"Zs": " ", "Cf": "", "Sc": char}[category]
    if greek := re.fullmatch("GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)", unicodedata.name(char, "")):
        name = greek[2].replace("LAMDA", "LAMBDA")
        return f"\\{name.lower() if greek[1] == 'SMALL' else name.capitalize()} "
    form, normal = (
        unicodedata.decomposition(char).partition(">")[0],
        unicodedata.normalize("NFKC", char),
    )
    if form == "<circle" or (form in ("<super", "<sub") and normal.isalpha() and char != "ⁿ"):
        return {"<super": f"^{{{normal}}}", "<sub": f"_{{{normal}}}", "<circle": char}[form]
    numerator, slash, denominator = normal.partition("⁄")
    return f"\\frac{{{numerator}}}{{{denominator}}}" if slash else numerator


def mixed_number(match) -> str:
    """As a sum; but 2\\frac{3}{2} is a product, as it stands."""
    whole, numerator, denominator = filter(None, match.groups())
    if len(match[0]) < 300 and 0 < int(numerator) < int(denominator):
        return rf"({whole}+\frac{{{numerator}}}{{{denominator}}})"
    return match[0]


def plain_number(text: str) -> str | None:
    """The canonical text of an integer or decimal of any length ("+1,050.50" -> "1050.5"), None for anything else."""
    if (match := PLAIN_NUMBER.fullmatch(text)) is None:
        return None
    sign, whole, decimals = match.groups("")
    whole = whole.replace(",", "").lstrip("0")
    decimals = decimals.rstrip("0")
    number = f"{whole}.{decimals}" if decimals else whole or "0"
    return "-" + number if sign == "-" and number != "0" else number

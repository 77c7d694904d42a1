"""The spelling of an answer: one character or command for each way to write it.

`normalize` is the first step of reading. tokens.py comes next.
"""

import re
import unicodedata
from functools import lru_cache

from support.verifier.values import ensure
from support.verifier.words import synonyms

MAX_TEXT = 10_000  # characters

# ---- Numbers -------------------------------------------------------------------------------------

# +1,050.50
PLAIN_NUMBER = re.compile(r"([+-]?)(?:\\?\$)?([1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]*))?")
COMMA_GROUP = re.compile(r"(?<![\d.])(?<!\d,)[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)")  # 1,234
# 2\frac{1}{2}, 2\frac12, 2 1/2, but neither an exponent nor an argument
MIXED_NUMBER = re.compile(
    r"""(?x) (?<![\d.^_}\]])(?<!frac|sqrt)(?<!binom) (\d+)
    (?: (?:[ ~]|\\[,;!\ ]){0,3} \\[dtc]?frac[ ]? (?:\{[ ]?(\d+)[ ]?\}|(\d))
            [ ]? (?:\{[ ]?(\d+)[ ]?\}|(\d)(?!\d))
      | (?:[ ~]|\\[,;!\ ]){1,3} (\d+)[ ]?/[ ]?(\d+) )"""
)


def plain_number(text: str) -> str | None:
    """The canonical text of an integer or decimal of any length, None for anything else.

    "+1,050.50" becomes "1050.5".
    """
    match = PLAIN_NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, decimals = match.groups("")
    whole = whole.replace(",", "").lstrip("0")
    decimals = decimals.rstrip("0")
    number = f"{whole}.{decimals}" if decimals else whole or "0"
    return "-" + number if sign == "-" and number != "0" else number


def comma_group(match) -> str:
    r"""1,234 is a number, but (1,234) a pair.

    Unless it is of 1 and 000, or other commas have spaces: \{1,000, 2,345\}.
    """
    text = match[0]
    before = match.string[: match.start()]
    inside = False
    for opening, closing in ("()", "[]", (r"\{", r"\}")):
        inside = inside or before.count(opening) > before.count(closing)
    around = (
        re.split(r"[][(){}]", before)[-1] + re.split(r"[][(){}]", match.string[match.end() :])[0]
    )
    if inside and ",0" not in text and ", " not in around:
        return text
    return text.replace(",", "")


def mixed_number(match) -> str:
    r"""As a sum; but 2\frac{3}{2} is a product, as it stands."""
    whole, numerator, denominator = filter(None, match.groups())
    if len(match[0]) < 300 and 0 < int(numerator) < int(denominator):
        return rf"({whole}+\frac{{{numerator}}}{{{denominator}}})"
    return match[0]


# ---- Labels --------------------------------------------------------------------------------------

LABEL = re.compile(
    r"""(?xi)  # Answer: 5  \text{The answer is }5  \text{Choice (D)}  Therefore x = 5
    (?P<open>\\(?:text|math)(?:bf|it|rm)?\s?\{)?\s?
    (?:(?:the\ )?(?:final\ |correct\ |best\ )?
        (?:answer\ choice|answer|choice|option|solution|result)
        (?:\ is)?(?:\s?[:=]\s?|\s(?=\W|.\W*$|[A-J][).:]))
    |(?:so|thus|hence|therefore)\b,?\s?|\\(?:therefore|implies|Rightarrow)\b)
    (?P<close>\s?\})?\s?(?=.)"""
)


def without_label(text: str) -> str:
    label = LABEL.match(text)
    if label is None:
        return text
    rest = text[label.end() :].lstrip(" *")
    if label["open"] and not label["close"]:
        rest = rest.replace("}", "", 1)
    return rest.rstrip(" .")


# ---- Rewrites ------------------------------------------------------------------------------------


def one_line(match) -> str:
    """The lines of an aligned environment as a list. A line that begins with = continues one."""
    lines = match["lines"]
    if "\\begin" in lines:
        return lines
    text = ""
    for line in lines.split("\\\\"):
        line = line.replace("&", " ").strip(" .")
        if line:
            text += (" " if line[0] in "=<>+" else ", ") + line
    return text.lstrip(" ,")


def environment(names: str) -> str:
    """The pattern of an environment with one of these names, such as align."""
    begin = rf"\\begin\s*\{{\s*({names})\*?\s*\}}(?:\[t\])?"
    return rf"(?s){begin}(?P<lines>.*)\\end\s*\{{\s*\1\*?\s*\}}"


GROUP = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
ENDS = r"([^][(){},;]+(?<!\\)[,;][^][(){},;]+)"  # of an interval
REAL_SYMBOL = r"\\(?:mathbb|Bbb)\s?(?:\{\s?R\s?\}|R)"
STYLES = r"math(?:bb|cal|bf|it|frak|scr)|Bbb|boldsymbol|bm|mathrm(?=\{.\}\s?_)"
# \left\{ \begin{array} … \end{array} \right.
ARRAY_OF_CASES = (
    r"(?s)\\left\s?\\\{\s*\\begin\s*\{(array|matrix)\}(?:\{[lcr|\s]*\})?(.*)"
    r"\\end\s*\{\1\}\s*\\right(?:\s?\.|$)"
)
INVISIBLE = (
    rf"\\(?:[hv]?phantom|[hv]space\*?|tag|label)\s?{GROUP}"
    r"|\\(?:kern|[hm]skip|mkern)\s?-?[\d.]+\s?[a-z]+"
)
TIMES_TEN = (
    r"(?<=\d)(?<!(?<![\d.])0)(?:\s|~|\\[,; ]|\\(?:text|mathrm)\s?\{)*"
    r"[xX](?:\s|~|\\[,; ]|\})*(?=\{?10\b)"
)
TIME = r"^(?:\\text\s?\{)?0?(\d\d?):?(\d\d)?(?:[\s~}]|\\[,; ]|\\text\s?\{)*"
BASE = r"^([0-9A-F]+)\s*(?:\\text\s?\{)?\s?\(?(?:in )?base\s?\}?\s?(\d+)\s?\)?\s?\}?$"
CONSTANT = r"(?:\\?\s)?\(\s?(?=[a-zA-Z]\s?\\text\s?\{[^{}]*constant\s?\})([^()]*)\)$"
ASIDE = r"\(\s?([A-Za-z]{4,}(?:-[a-z]+)?|[A-Za-z]+ [A-Za-z ]+)\s?\)"
REWRITES = [  # (a text without which nothing is to do, pattern, replacement), in this order
    # Money: \$ is a currency, and so is a single $ that no other closes.
    ("$", r"\\\$", "¤"),
    ("$", r"^([^$]*)\$([^$]*)$", r"\1¤\2"),
    ("$", r"\$", " "),
    ("S", r"\\(?:text|mathrm)\s?\{US ?\}\s?(?=¤)|\b(?:US|U\.S\.) ?(?=¤|dollar)", ""),
    ("Rs", r"\bRs\.? ?(?=\d)", "₹"),
    ("\\pounds", r"\\pounds\b", "£"),
    # Environments: \\[4pt] is a new line. \left\{ \begin{array} … \right. has the cases of a value.
    ("\\begin", r"\\\\\s?\[[-\d.]+ ?\w\w\]", r"\\\\"),
    ("\\begin", environment("equation|multline|displaymath|math|center"), one_line),
    ("\\begin", environment("aligned|align|flalign|split|gathered|gather|eqnarray"), one_line),
    ("\\begin", ARRAY_OF_CASES, r"\\begin{cases}\2\\end{cases}"),
    # Commands: nothing to see, degrees, primes, negations.
    ("\\", INVISIBLE, " "),
    ("\\", r"\^\s?(?:\{\s?(?:\\circ|\\degree)\s?\}|\\circ|\\degree)|\\degree", "°"),
    ("\\", r"\^\s?(?:\{\s?\\prime\s?\}|\\prime\b)", "'"),
    ("\\not", r"\\not\s?=", r"\\ne "),
    ("\\not", r"\\not\s?\\in\b", r"\\notin "),
    # Units: 5\,\mu\text{m}, 5\,\Omega
    ("\\", r"\\mu\s?\\(?:text|mathrm)\s?\{\s?(?=[mgsLF]\b)", r"\\text{u"),
    ("\\O", r"(?<=\d)(?:\s|\\[,; ])*\\Omega\b", r"\\text{ ohm}"),
    ("mod", r"\(\s?(?:\\(?:text|mathrm)\s?\{)?\\?mod\b\s?\}?\s?([^()]+)\)", r"\\pmod{\1}"),
    ("\\equiv", r"\\b?mod\b\s?\{?\s?(\w+)\}?", r"\\pmod{\1}"),  # x ≡ 3 mod 7, 3 (mod 7)
    # 4:30 p.m., 9\text{ AM} are names. 42 is the answer
    ("", TIME + r"[Aa]\.?\s?[Mm]\.?\}?$", r"T_{a\1:\2}"),
    ("", TIME + r"[Pp]\.?\s?[Mm]\.?\}?$", r"T_{p\1:\2}"),
    ("T_{", r"(?<=^T_\{[ap])(\d+):\}$", r"\1:00}"),
    ("is ", r"(?:\\text\s?\{)?\s*\bis (?:the (?:final |correct )?answer|correct)\s?\}?$", ""),
    ("<sup>", r"<sup>(.*?)</sup>", r"^{\1}"),
    ("}", r"(?<=\\\})\s?-\s?(?=\\\{)", r"\\setminus "),
    # Sets of numbers: ℝ - {0}, ℝ^+, ℤ^+
    ("bb", REAL_SYMBOL + r"\s?(?:-|\\backslash|\\)\s?(?=\\?\{)", r"\\R\\setminus "),
    ("bb", REAL_SYMBOL + r"\s?\^\s?(?:\{\s?\+\s?\}|\+)", r"(0,\\infty)"),
    ("bb", r"(?<=\\mathbb\{[A-Z]\})\^\s?\{?([+*])\}?", r"_\1"),
    ("bb", REAL_SYMBOL + r"(?![a-zA-Z])", r"\\R "),
    # Letters: \mathbf{x} is x, \mathrm{d}x is dx.
    ("{", rf"\\(?:{STYLES})\s?\{{\s?([A-Za-z])\s?\}}", r" \1 "),
    ("{", r"\\(?:mathrm|text|rm)\s?\{\s?d\s?\}\s?(?=[a-zA-Z])", "d"),
    # Numbers in another base: (101.1)_2, 101 (base 2)
    ("_", r"[(\[]\s?([0-9A-F]+(?:\.[0-9A-F]+)?)\s?[)\]]\s?(?=_\s?(?:\{\s?)?\d)", r"\1"),
    ("base", BASE, r"\1_{\2}"),
    # Words and signs.
    ("{}", r"(?<!\\)\{\}", ""),
    ("per cent", "per cent", "percent"),
    ("non-", "non-", "non"),
    ("...", r"\.\.\.", r"\\ldots "),
    ("+/-", r"\+/-", r"\\pm "),
    # Intervals: (1,2) U (3,4), ]1,2[, ]1,2], [1,2[
    ("U", r"(?<=[)\]])\s?(?:\\text\s?\{\s?U\s?\}|U)\s?(?=[(\[])", r"\\cup "),
    ("[", rf"\]{ENDS}\[", r"(\1)"),
    ("]", rf"\]{ENDS}\]", r"(\1]"),
    ("[", rf"\[{ENDS}\[", r"[\1)"),
    # Brackets: cx (c is a constant), 2\pi k (k \in Z), 9 (red apples), C)
    (")", CONSTANT, r" \\text{ where } \1"),
    (")", r"(?:\\?\s)?\(\s?([a-zA-Z]\s?(?:\\in\b|\\[gl]eq?\b|[<>]|∈)[^()]*)\)$", r", \1"),
    (")", rf"(?<=\d)\s?(?:\\text\s?\{{)?\s?{ASIDE}\}}?$", r" \\text{ \1}"),
    (")", r"^([A-J])\)$", r"\1"),
    # x for times: 3 x 4, 3x10^8, but neither 3x nor 0x10
    (" ", r"(?<=\d) [xX] (?=\d)", "*"),
    ("10", TIMES_TEN, "*"),
    # Thousands: 1{,}234, 1\,234, 1 234
    ("", r"(?<=\d)(?:\{,\}|,\\!\s{0,9}|\\[,;:! ]|~)(?=\d{3}(?!\d))", ""),
    (
        " ",
        r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?![\d/.]| \d| ?\\[dtc]?frac)",
        lambda number: number[0].replace(" ", ""),
    ),
]
REWRITES = [(occurs, re.compile(pattern), new) for occurs, pattern, new in REWRITES]


def normalize(text: str) -> str:
    """The text in the spelling that tokens.py knows."""
    if not text.isascii():
        text = in_ascii(text)
    if "\\\\" in text and "\\begin" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)  # \\frac: the source was escaped twice
    text = text.lstrip(" \t\r\n*`")
    if not text.endswith("..."):
        text = text.rstrip(" \t\r\n*`.,;:\\")
    text = without_label(text)
    for occurs, pattern, new in REWRITES:
        if occurs in text:
            text = pattern.sub(new, text)
    return COMMA_GROUP.sub(comma_group, text.strip())


# ---- Unicode -------------------------------------------------------------------------------------

CHARACTERS = synonyms("""- − – — ‒ ⁻; ' ′ ’; * × · ⋅ ∙ ∗ ⁢; + ⁤; / ÷ ∕ ⁄; ≤ ⩽; ≥ ⩾; ≈ ≃; ° º; . 。;
    Z ℤ; N ℕ""")
CHARACTERS |= synonyms(r"""\sqrt √; \sqrt[3] ∛; \angle ∠; \triangle △; \equiv ≡; \forall ∀;
    \mathbb{R} ℝ; ... … ⋯""")
GREEK = re.compile("GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)")


def in_ascii(text: str) -> str:
    """The text in ASCII, as far as there is a spelling for its characters."""
    if re.fullmatch("[①-⑳]([,;、 ]*[①-⑳])+", text):  # several answers; ② alone is no number
        text = ", ".join(unicodedata.normalize("NFKC", re.sub("[,;、 ]", "", text)))
    text = re.sub("[⁰¹²³⁴-⁹⁺⁻ⁿ]+", r"^{\g<0>}", text)
    text = re.sub("[₀-₉]+", r"_{\g<0>}", text)
    text = re.sub(r"[µμ](?=[mgsLF]\b)", "u", text)
    text = "".join(char if char.isascii() else fold_character(char) for char in text)
    ensure(len(text) <= MAX_TEXT)  # one character can stand for eighteen
    return text


@lru_cache(maxsize=1024)
def fold_character(char: str) -> str:
    """Greek letters by name, ½ as \\frac, digits of any script and full-width forms as ASCII."""
    if char in CHARACTERS:
        return CHARACTERS[char] + " " * CHARACTERS[char].startswith("\\")
    if char.isdecimal():
        return str(int(char))
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    if category == "Cf":  # a mark without width
        return ""
    if category == "Sc":  # a currency
        return char
    greek = GREEK.fullmatch(unicodedata.name(char, ""))
    if greek:
        name = greek[2].replace("LAMDA", "LAMBDA")
        name = name.lower() if greek[1] == "SMALL" else name.capitalize()
        return f"\\{name} "
    form, _, _ = unicodedata.decomposition(char).partition(">")
    normal = unicodedata.normalize("NFKC", char)
    is_letter = normal.isalpha() and char != "ⁿ"
    if form == "<circle":
        return char
    if form == "<super" and is_letter:
        return f"^{{{normal}}}"
    if form == "<sub" and is_letter:
        return f"_{{{normal}}}"
    numerator, slash, denominator = normal.partition("⁄")
    return f"\\frac{{{numerator}}}{{{denominator}}}" if slash else numerator

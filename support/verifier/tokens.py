r"""From a normalized text to tokens: (kind, text, is there space before it).

The kinds are number, name, function, word, currency and op. One operator stands for each way to
write it: \le, \leqslant and <= are all ≤.
"""

import re
from fractions import Fraction

from support.verifier import words
from support.verifier.values import MAX_BITS, add, ensure
from support.verifier.words import synonyms, word_set

MAX_TOKENS = 2_000

# ---- Commands and signs --------------------------------------------------------------------------

SYMBOLS = synonyms("^ **; = == :=; ≤ <= =<; ≥ >=; ≠ !=; ≈ ~=; ± +-")
OPERATOR_COMMANDS = synonyms(r"""* cdot times ast; / div; = equiv; < lt; > gt;
    ≤ le leq leqslant leqq; ≥ ge geq geqslant geqq; ≠ ne neq; ≈ approx simeq doteq;
    → to rightarrow; ± pm; ∓ mp; ∪ cup bigcup; ∩ cap bigcap; ∈ in; ∉ notin;
    ∖ setminus smallsetminus backslash; ∅ emptyset varnothing; ∞ infty;
    … ldots dots cdots dotsc dotsb dotsm dotso hdots; | lvert rvert vert mid; : colon;
    ∨ lor vee; ∧ land wedge; and &; ⟨ langle; ⟩ rangle; [ lbrack; ] rbrack; ⌊ lfloor; ⌋ rfloor;
    ⌈ lceil; ⌉ rceil; \{ { lbrace; \} } rbrace; frac dfrac tfrac cfrac; binom dbinom tbinom;
    sqrt; over; choose; sum; prod; int; lim; %; R; bar overline; hat widehat; tilde widetilde;
    vec overrightarrow; dot; ddot""")
PLAIN_WORDS = synonyms("and AND; or OR; sqrt; ∞ infinity inf oo")
OPERATORS = {"command": OPERATOR_COMMANDS, "letters": PLAIN_WORDS}
FUNCTION_NAMES = synonyms("""sin; cos; tan; cot; sec; csc; asin arcsin; acos arccos; atan arctan;
    sinh; cosh; tanh; log ln; lg; exp; abs; floor; ceil ceiling; factorial; binomial""")
LETTER_NAMES = synonyms("""alpha; beta; gamma; delta; epsilon varepsilon; zeta; eta;
    theta vartheta; iota; kappa; lambda; mu; nu; xi; pi; rho; sigma; tau; upsilon; phi varphi;
    chi; psi; omega; Gamma; Delta; Theta; Lambda; Xi; Pi; Sigma; Phi; Psi; Omega; ell; hbar""")
WORD_COMMANDS = synonyms("gcd; deg; dim; max; min; det; Pr; arg; Re; Im; ker; for forall")
del WORD_COMMANDS["for"]  # \for is no command
IGNORED_COMMANDS = word_set("""left right middle big Big bigg Bigg bigl bigr Bigl Bigr large Large
    LARGE huge Huge small tiny normalsize footnotesize displaystyle textstyle scriptstyle
    scriptscriptstyle limits quad qquad thinspace enspace enskip medspace thickspace negthinspace
    negmedspace space null relax boxed fbox framebox mathbf mathit mathsf mathtt mathcal mathbb
    boldsymbol bm pmb bold text textbf textit texttt textsf emph mathrm rm bf mathbin mathord
    mathop underline angle measuredangle triangle ensuremath hline strut mathstrut smash hfil hfill
    centering par noindent newline allowbreak nobreak bigskip smallskip nonumber notag qed""")

# ---- Tokenize ------------------------------------------------------------------------------------

SPACE = r"""\s+ | ~ | \.(?=\s*(?:$|\\?[)\]}])) | \\[,;:!>\ ()\[\]] | \\(?:left|right)\s?\.
    | \\(?:text)?color\s?\{(?!white)\w+\}
    | (?<=\d)\^?\{?(?:\\(?:text|mathrm)\{)?(?:st|nd|rd|th)\b\}{0,2}  # 42nd, 42^{\text{nd}}"""
# P(X = 2), \gcd(12, 18), f^{-1}(x), E[X], before an equals sign: the name of a quantity
QUANTITY = r"""(?<![A-Za-z\d\\])(?![fgh]\s?\()
    (?: \\(?:operatorname|text|mathrm)\*?\s?\{\w+\} | [PE]
      | \\(?:gcd|max|min|Pr|deg|dim|det|arg|Re|Im|(?:var)?phi|psi|P[hs]i|tau|sigma|mu|Gamma|zeta
          |rho|theta|pi)
      | [a-zA-Z]\^\{-1\}(?=\() | \([a-z]\s?\\circ\s?[a-z]\)
      | [A-Za-z](?=(?:_\w|_\{\w+\})?\s?
          (?:\[|\(\s?\w+\s?\)|\([^()]*(?:[,=<>|]|\\(?:ca|cu|[gl]e|mid)))) )
    (?:_\w|_\{\w+\})?\s?(?:\\left\s?)?
    [(\[](?:[^()\[\]]|\([^()]*\))*[)\]](?=\s?(?:=|\\approx))
    | \\text\s?\{\w+(?:\s?\+\s?\w+)+\}(?=\s?=)"""  # \text{m+n} = 7
UPRIGHT = r"""\\(?:text|textbf|textit|textrm|textnormal|mbox|hbox|mathrm|operatorname)\*?\s?
    \{(?P<text>(?:[^{}\\]|\\(?:cdot|times|[,; %$#&])|\^\{-?\d\})*)\}"""
ENVIRONMENT_EDGE = r"""\\(?P<edge>begin|end)\s*\{\s*(?P<environment>\w+)\*?\s*\}
    (?:\s*\{[lcr|\s]*\})?"""
# 0.1\overline{6}, 0.\dot{1}4\dot{2}, 0.1(6), 0.166\ldots, 1.5, .5, 12, 1.2e3
NUMBER = r"""\d*\.\d* (?:\\(?:overline|bar|dot)\s?(?:\d|\{\d+\})(?:\d*\\dot\s?(?:\d|\{\d\}))?
        | \(\d+\))
    | \d*\.\d+\s?\\[lc]?dots\b
    | (?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"""
TOKEN = re.compile(
    rf"""(?xs)  # verbose; "." is also a line break
      (?P<space>{SPACE}
      )
    | (?P<quantity>{QUANTITY})
    | {UPRIGHT}
    | {ENVIRONMENT_EDGE}
    | (?P<number>{NUMBER})
    | (?P<index>(?<![\\^_}}\w])(?<!(?:frac|sqrt|inom)\ )[A-Za-z]\d+(?![\d^.]))
    | \\(?P<command>[A-Za-z]+|.)
    | (?P<letters>[^\W\d_]+)
    | (?P<symbol>\*\*|[<>=~:]=|(?<![\d)}}])!=|=<|\+-|.)"""
)
QUANTITY_STYLE = re.compile(r"\s|\\left|\\right|\\(?:text|mathrm|operatorname)\*?|[{}]")
# HT, ABC, May: by themselves they may name points or an outcome, in this order
RUN_OF_LETTERS = re.compile(
    r"(?!Yes|YES|NO)(?:[A-Z]{2,}|[A-Z][a-z]{2})"
    r"(?=\s*(?:$|([])])|[,;]|\\\}|\\text\s?\{ ?(?:and|or)\b))"
)
NOUN = re.compile(  # 4 hot dogs, 10 in total: behind a number and a short word there is a long one
    r"(?:(?<=\d [a-z]{2})|(?<=\d [a-z]{3}))(?: [a-z]{2,3})* "
    rf"(?!{'|'.join(FUNCTION_NAMES)}|sqrt)[a-z]{{4}}"
)
DECIMAL_DOTS = re.compile(r"\s?\\[lc]?dots")


def tokenize(text: str, prose: bool = False) -> list[tuple[str, str, bool]]:
    r"""`prose` is the inside of \text{}, where every run of letters is a word."""
    tokens = []
    spaced = False
    for match in TOKEN.finditer(text):
        kind = match.lastgroup
        value = match[kind]
        if kind == "space" or (kind == "command" and value in IGNORED_COMMANDS):
            spaced = spaced or kind == "space" or value.endswith("quad")
            continue
        if kind == "text":
            tokens += tokenize(value, prose=not is_mathematics(match))
            spaced = True
            continue
        after_word = len(tokens) > 0 and tokens[-1][0] == "word"
        if kind == "symbol" and value == "." and (prose or after_word):
            continue  # sq. ft.
        kind, value = token_of(match, tokens, spaced, prose)
        if kind == "names":
            first, *others = re.findall("d[xyztuvwrs]$|.", value)  # dx isn't d times x
            tokens.append(("name", first, spaced))
            tokens += [("name", other, False) for other in others]
        else:
            tokens.append((kind, value, spaced))
        spaced = False
    ensure(len(tokens) <= MAX_TOKENS)
    return tokens


def is_mathematics(match) -> bool:
    r"""\text{sin} and \mathrm{e} aren't words."""
    text = match["text"]
    return text in FUNCTION_NAMES or (text in ("e", "i") and "mathrm" in match[0])


def token_of(match, before: list, spaced: bool, prose: bool) -> tuple[str, str]:
    """The kind and the text of a token; of the kind "names" if it is a product of variables."""
    kind = match.lastgroup
    value = match[kind]
    if kind == "number":
        return "number", DECIMAL_DOTS.sub("…", value)
    if kind == "index":  # R1
        return "name", value
    if kind == "quantity":
        return "word", QUANTITY_STYLE.sub("", value)
    if kind == "environment":
        return "op", f"{match['edge']} {value}"
    if kind in ("symbol", "command") and value in words.CURRENCIES:
        return "currency", words.CURRENCIES[value]
    if kind == "symbol":
        return "op", SYMBOLS.get(value, value)
    if value in OPERATORS[kind]:
        return "op", OPERATORS[kind][value]
    if prose:
        return "word", value
    if value in FUNCTION_NAMES:
        return "function", FUNCTION_NAMES[value]
    if value in LETTER_NAMES:
        return "name", LETTER_NAMES[value]
    if kind == "letters":
        if is_by_itself(match, before):
            return "letters", value
        has_noun = spaced and NOUN.match(match.string, match.end())
        return "word" if has_noun or is_word(value, before, spaced) else "names", value
    if value in WORD_COMMANDS:
        return "word", WORD_COMMANDS[value]
    return "op", "\\" + value  # an unknown command, and so unreadable


def is_by_itself(match, before: list) -> bool:
    """Are these letters an answer, or one in a list?"""
    _, opening, _ = before[-1] if before else ("", "", False)
    letters = RUN_OF_LETTERS.match(match.string, match.start())
    is_item = letters is not None and letters.end() == match.end()
    in_bracket = is_item and opening in ("(", "[") and letters[1]
    return is_item and not in_bracket and opening in {"", ",", ";", "(", "[", "\\{", "and", "or"}


def is_word(letters: str, tokens: list, spaced: bool) -> bool:
    """Others of up to three letters, or at a number, are products of variables."""
    before, text, _ = tokens[-1] if tokens else ("", "", False)
    if letters in words.SHORT_UNITS or letters == "Day":
        return before in ("number", "word") or text in ("/", "}", ")", "(")
    if not letters.isascii() or letters.casefold() in ("yes", "no"):
        return True
    if len(letters) > 3:
        is_unit = words.unit_of(letters) in words.UNITS.values()
        return before != "number" or spaced or is_unit
    if len(letters) == 1:
        return False
    return letters in words.SHORT_WORDS or before == "word"


# ---- Uses of tokens ------------------------------------------------------------------------------


def text_key(tokens) -> str:
    """Texts with the same key are the same.

    A space counts only between letters or digits: 11/2 isn't 1 1/2. Case counts, but not in prose:
    Yes is yes, but X isn't x.
    """
    key = ""
    for kind, text, spaced in tokens:
        if kind == "name" and len(text) > 1:
            text = "\\" + text
        if spaced and key[-1:].isalnum() and text[:1].isalnum():
            key += " "
        key += text
    only_words = all(kind == "word" for kind, _, _ in tokens)
    prose = only_words and any(len(text) > 2 for _, text, _ in tokens)
    return key.casefold() if prose or key.casefold() in ("no", "yes") else key


def number_value(text: str) -> Fraction:
    r"""12, 1.5, .5, 1.2e3, 0.1\overline{6}, 0.1(6), 0.\dot{1}4\dot{2} or 0.166…"""
    ensure(len(text) <= MAX_BITS // 4)
    if text.isdigit():
        return Fraction(int(text))
    if text[-1].isdigit() and "\\" not in text:
        _, _, exponent = text.lower().partition("e")
        ensure(len(exponent) <= 5)
        ensure(abs(int(exponent or "0")) <= MAX_BITS // 4)
        return add(Fraction(text))  # which checks its size
    whole, _, decimals = text.partition(".")
    if text[-1] == "…":
        digits = whole + decimals[:-1]
        block = repeated_block(digits)
        return repeating(int(digits), len(digits) - len(whole), block)
    match = re.fullmatch(r"(\d*)\W\D*(\d+)\D*(\d*)\D*(\d*)\D*", decimals)
    fixed, *parts = match.groups()
    return repeating(int(whole + fixed or "0"), len(fixed), "".join(parts))


def repeated_block(digits: str) -> str:
    """The block of digits at the end that is there twice."""
    match = re.search(r"([1-9]|\d*?[1-9]\d*?)\1+$", digits[-60:])
    ensure(match)
    return match[1]


def repeating(number: int, decimals: int, block: str) -> Fraction:
    """The number whose last digits are decimals, with this block behind them again and again."""
    fraction = Fraction(int(block), 10 ** len(block) - 1)
    return (number + fraction) / 10**decimals

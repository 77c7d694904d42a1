"""The words that the verifier knows in an answer: numbers, units, and changes of a number."""

import re
from fractions import Fraction

from support.verifier.values import INFINITY, MINUS_INFINITY, REALS


def synonyms(rows: str) -> dict[str, str]:
    """Every word of a row stands for the row's first word. A semicolon ends a row."""
    meanings = {}
    for row in rows.split(";"):
        first, *others = row.split()
        meanings[first] = first
        for word in others:
            meanings[word] = first
    return meanings


def word_set(text: str) -> set[str]:
    return set(text.split())


# ---- Numbers -------------------------------------------------------------------------------------

ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
    fifteen sixteen seventeen eighteen nineteen"""
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBERS = {word: Fraction(n) for n, word in enumerate(ONES.split())}
NUMBERS |= {word: Fraction(10 * n) for n, word in enumerate(TENS.split(), 2)}
PARTS = "third fourth fifth sixth seventh eighth ninth tenth"
SCALES = {word: Fraction(1, n) for n, word in enumerate(PARTS.split(), 3)}
LARGER = "dozen 12, hundred 1e2, thousand 1e3, million 1e6, billion 1e9, trillion 1e12"
SMALLER = "half 1/2, halve 1/2, quarter 1/4, hundredth 1/100, thousandth 1/1000"
for scale in f"{LARGER}, {SMALLER}".split(", "):
    word, number = scale.split()
    SCALES[word] = Fraction(number)
SCALES["pi"] = ("symbol", "pi")
POWERS = {"squared": Fraction(2), "cubed": Fraction(3)}

# ---- Words that aren't units: 5 pairs isn't 5 ----------------------------------------------------

NEGATIONS = word_set("""not no never except isn false wrong incorrect impossible unlikely maybe
    cannot neither nor rejected extraneous invalid excluded previous twice double half negative
    square anything""")
CHANGERS = word_set("""without excluding untrue none nothing doubtful hardly fail otherwise else
    unless versus least most minimum if or bc ago as the sum pair couple trio score gross triple
    quadruple quintupled doubled tripled halved negated time fold more less fewer plus minus
    positive below above under over than root inverse reciprocal opposite complement conjugate
    factorial mod modulo remainder recurring repeating bar base point choose power cube by to out
    through divided multiplied off loss probability percentile basis mille permil ppm ppb bps lakh
    crore thrice grand googol milliard myriad mln mil bn k K M i e x n alpha beta gamma theta tau
    phi omega yes kilo mega giga tera peta exa hecto deca deci centi milli micro nano pico""")
CHANGERS |= NEGATIONS | set(SCALES) | set(NUMBERS)
# 5 twentieths, 5 quintillion, 5 hundredfold, 5 permille, 5 octuples
OTHER_PARTS = re.compile(
    "(teen|tie|twelf|eleven|illion|^n)ths?$|^tens$|(illion|fold|mille|uple)s?$"
)
MODIFIERS = word_set("more less fewer positive negative")  # only of a noun: 8 more apples
NOUNS = word_set("root bar base point")  # in the plural, or of another noun: 3 candy bars
# As many are certainly counted; 5 quarters may be 5/4, and 5 cubes 125.
COUNTED_FROM = {"quarter": 10, "cube": 6, "time": 6}
QUALIFIERS = {"for", "where", "with"}
STOPS = QUALIFIERS | {"if", "when", "otherwise", "else", "and", "or"}
FILLERS = word_set("""all any every each some real number value of is are i be a an the arbitrary
    constant fixed integration""")
RESTRICTIONS = word_set("""positive negative nonnegative nonzero integer natural whole rational
    complex even odd prime""")

# ---- Sets in words -------------------------------------------------------------------------------

SYNONYMS = {"dne": "does not exist", "else": "otherwise"}
NOTHING = re.compile(
    "(there (is|are) )?no (real )?(solutions?|roots?)( exists?)?|(the )?empty set|none"
)
ENDLESS = re.compile("(there are )?infinitely many( \\w+)?|infinite( solutions?)?")
OF_A_KIND = re.compile(r"(?<=^even|^.odd) function$|(?<=\w) triangle$")  # an even function is even
REAL_NUMBERS = re.compile(
    "(the )?(set of )?(all |any |every )?(?P<sign>positive |negative |nonnegative |nonzero )?"
    "(reals|real (numbers?|values?)|real numbers numbers)"
    "(?P<but> (except|but|excluding|other than)( for)?)?"
)
ZERO = Fraction(0)
SIGNED = {
    "": REALS,
    "positive": ("pair", ZERO, INFINITY, "()"),
    "negative": ("pair", MINUS_INFINITY, ZERO, "()"),
    "nonnegative": ("pair", ZERO, INFINITY, "[)"),
    "nonzero": ("without", REALS, ("set", ZERO)),
}

# ---- Units and currencies ------------------------------------------------------------------------

CURRENCIES = synonyms("""$ ¤ dollar dollars USD textdollar mathdollar; € euro EUR texteuro;
    £ GBP textsterling; ¥ yen JPY; ₹ rupee INR Rs; ¢ cent textcent; ₩ won KRW; CAD; AUD; CHF;
    CNY yuan 元""")
UNITS = synonyms("""% percent pct percentage; degree deg; celsius; fahrenheit; inch in inches;
    ft foot feet; yd yard; lb pound; mi mile; oz ounce; gal gallon; qt quart; pt pint;
    tbsp tablespoon; tsp teaspoon; min minute; h hr hour; d day; wk week; mo month; yr year;
    rad radian; ha hectare; km/h kph kmh kmph; mi/h mph; square sq; cubic cu""")
UNITS |= CURRENCIES
UNITS |= synonyms("""m 米; cm 厘米; mm 毫米; km 千米 公里; kg 千克 公斤; g 克; L 升; s 秒; min 分钟;
    h 小时; d 天 日; yr 年 岁; deg 度; 个; 人; 只; 本; 件; 次; 条; 块; 种; 平方米; 平方厘米; 立方米;
    立方厘米; м; см; км; кг; г; 円; 원; 개""")
BASES = synonyms("""m meter metre; g gram gramme; s second sec; N newton; J joule; W watt; V volt;
    A ampere amp; Hz hertz; T tesla; Pa pascal; K kelvin; mol mole; C coulomb; F farad;
    L l liter litre; eV electronvolt; cal calorie; ohm; B byte; bit; Wh""")
PREFIXES = synonyms("""k kilo; M mega; G giga; T tera; h hecto; d deci; c centi; m milli; u micro;
    n nano; p pico""")
for unit, symbol in BASES.items():  # kN kilonewton
    UNITS.setdefault(unit, symbol)
    for prefix, letter in PREFIXES.items():
        both_long = len(prefix) > 1 and len(unit) > 2
        both_short = len(prefix) == 1 and len(unit) <= 2
        if unit == symbol or both_long or both_short:
            UNITS.setdefault(prefix + unit, letter + symbol)
SHORT_UNITS = word_set("""mm cm km ft kg mg lb lbs oz ml deg min sec hr hrs yrs day sq per pct
    mph""")
SHORT_WORDS = word_set("""USD EUR GBP CAD AUD CHF INR JPY CNY Rs one two six ten for all any is of
    the but not men""")


def unit_of(word: str) -> str:
    """kilometres -> km; a word that isn't known stands for itself."""
    if word not in UNITS and len(word) > 4 and (word.istitle() or word.isupper()):
        word = word.casefold()
    singular = word.removesuffix("s") if len(word) > 2 and word.islower() else word
    return UNITS.get(word) or UNITS.get(singular) or singular

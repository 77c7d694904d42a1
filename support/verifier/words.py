"""The words that support/verifier/latex.py knows in an answer: numbers, units, currencies, and those that change a number."""

import re
from fractions import Fraction

from support.verifier.values import INFINITY, REALS


def table(rows: str) -> dict[str, str]:
    """Every word of a row stands for the row's first word."""
    return {word: row.split()[0] for row in rows.split(";") for word in row.split()}


def words(text: str) -> set[str]:
    return set(text.split())


# ---- Numbers -------------------------------------------------------------------------------------
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBERS = {word: Fraction(n) for n, word in enumerate([*ONES.split(), "eighteen", "nineteen"])}
NUMBERS |= {word: Fraction(10 * n) for n, word in enumerate(TENS.split(), 2)}
PARTS = dict(
    half=2,
    halve=2,
    third=3,
    quarter=4,
    fourth=4,
    fifth=5,
    sixth=6,
    seventh=7,
    eighth=8,
    ninth=9,
    tenth=10,
)
GROUPS = dict(dozen=12, hundred=100, thousand=1000, million=10**6, billion=10**9, trillion=10**12)
SCALES = {
    word: Fraction(1, n) for word, n in (PARTS | dict(hundredth=100, thousandth=1000)).items()
}
SCALES |= {word: Fraction(n) for word, n in GROUPS.items()} | {"pi": ("symbol", "pi")}
POWERS = {"squared": Fraction(2), "cubed": Fraction(3)}

# ---- Words that aren't units: 5 pairs isn't 5 ----------------------------------------------------
NEGATIONS = words("""not no never except isn false wrong incorrect impossible unlikely maybe cannot neither nor rejected
    extraneous invalid excluded previous twice double half negative square anything""")
CHANGERS = words("""without excluding untrue none nothing doubtful hardly fail otherwise else unless versus least
    most minimum if or bc ago as the sum pair couple trio score gross triple quadruple quintupled doubled tripled
    halved negated time fold more less fewer plus minus positive below above under over than root inverse reciprocal
    opposite complement conjugate factorial mod modulo remainder recurring repeating bar base point choose power
    cube by to out through divided multiplied off loss probability percentile basis mille ppm lakh crore quadrillion
    googol myriad mln mil bn k K M i e x n alpha beta gamma theta tau phi omega""")
CHANGERS |= NEGATIONS | set(SCALES) | set(NUMBERS)
OTHER_PARTS = re.compile("(teen|tie|twelf|eleven|illion|^n)ths?$|^tens$")
QUALIFIERS = {"for", "where", "with"}
STOPS = QUALIFIERS | {"if", "when", "otherwise", "else", "and", "or"}
FILLERS = words(
    "all any every each some real number value of is are i be a an the arbitrary constant fixed integration"
)
RESTRICTIONS = words(
    "positive negative nonnegative nonzero integer natural whole rational complex even odd prime"
)

# ---- Sets in words -------------------------------------------------------------------------------
SYNONYMS = {"dne": "does not exist", "else": "otherwise"}
NOTHING = re.compile(
    "(there (is|are) )?no (real )?(solutions?|roots?)( exists?)?|(the )?empty set|none"
)
REAL_NUMBERS = re.compile(
    "(the )?(set of )?(all |any |every )?(?P<sign>positive |negative |nonnegative |nonzero )?"
    "(reals|real (numbers?|values?)|real numbers numbers)(?P<but> (except|but|excluding|other than)( for)?)?"
)
SIGNED = {
    "": REALS,
    "positive": ("pair", Fraction(0), INFINITY, "()"),
    "negative": ("pair", REALS[1], Fraction(0), "()"),
}
SIGNED |= {
    "nonnegative": ("pair", Fraction(0), INFINITY, "[)"),
    "nonzero": ("without", REALS, ("set", Fraction(0))),
}

# ---- Units and currencies ------------------------------------------------------------------------
CURRENCIES = table("""$ ¤ dollar dollars USD textdollar mathdollar; € euro EUR texteuro; £ GBP textsterling; ¥ yen JPY;
    ₹ rupee INR Rs; ¢ cent textcent; ₩ won KRW; CAD; AUD; CHF; CNY yuan""")
UNITS = table("""% percent pct percentage; degree deg; celsius; fahrenheit; inch in inches; ft foot feet; yd yard;
    lb pound; mi mile; oz ounce; gal gallon; qt quart; pt pint; tbsp tablespoon; tsp teaspoon; min minute; h hr
    hour; d day; wk week; mo month; yr year; rad radian; ha hectare; km/h kph kmh kmph; mi/h mph; square sq; cubic
    cu""")
UNITS |= CURRENCIES
BASES = """m meter metre; g gram gramme; s second sec; N newton; J joule; W watt; V volt; A ampere amp; Hz hertz; T
    tesla; Pa pascal; K kelvin; mol mole; C coulomb; F farad; L l liter litre; eV electronvolt; cal calorie; ohm; B
    byte; bit; Wh"""
PREFIXES = (
    "k kilo; M mega; G giga; T tera; h hecto; d deci; c centi; m milli; u micro; n nano; p pico"
)
for unit, symbol in table(BASES).items():  # kN kilonewton
    UNITS.setdefault(unit, symbol)
    for prefix, letter in table(PREFIXES).items():
        if unit == symbol or (len(prefix) > 1) == (len(unit) > 2):
            UNITS.setdefault(prefix + unit, letter + symbol)
SHORT_UNITS = words("mm cm km ft kg mg lb lbs oz ml deg min sec hr hrs yrs day sq per pct mph")
SHORT_WORDS = words(
    "USD EUR GBP CAD AUD CHF INR JPY CNY Rs one two six ten for all any is of the but not no"
)


def unit_of(word: str) -> str:
    """kilometres -> km; a word that isn't known stands for itself."""
    if word not in UNITS and len(word) > 4 and (word.istitle() or word.isupper()):
        word = word.casefold()
    singular = word.removesuffix("s") if len(word) > 2 and word.islower() else word
    return UNITS.get(word) or UNITS.get(singular) or singular

"""Flip the direction of statements: replace every word for up, high or worse by its opposite."""

from __future__ import annotations

import re

_PAIRS = """
high|low, higher|lower, highest|lowest, elevated|depressed, raised|reduced, above|below, over|under, > | < ,
more than|less than, greater than|less than, exceeded|fell below, maximum|minimum, max|min, peaked at|nadir of,
peak|nadir,
peaking at|down to, up to|down to, as high as|as low as, at least|at most, rising|falling, rose|fell, rise|fall,
up from|down from, tripled|halved, cleared to|climbed to, came down|went up, settled to|climbed to, weaned|increased,
dropped by|rose by, reduced|increased, closed|widened,
increased|decreased, increasing|decreasing, climbed|dropped, climbing|dropping, went up|went down, came up|came down,
trended up|trended down, trending up|trending down, upward|downward, improved|worsened, improving|worsening,
doubled|halved, tachycardia|bradycardia, tachycardic|bradycardic, tachypnea|bradypnea, tachypneic|bradypneic,
tachypnoea|bradypnoea, hypertension|hypotension, hypertensive|hypotensive, fever|hypothermia, febrile|hypothermic,
leukocytosis|leukopenia, leucocytosis|leucopenia, thrombocytosis|thrombocytopenia, polycythemia|anemia,
polycythaemia|anaemia, acidosis|alkalosis, acidemia|alkalemia, acidaemia|alkalaemia, hypercapnia|hypocapnia,
hyperkalemia|hypokalemia, hyperkalaemia|hypokalaemia, hypernatremia|hyponatremia, hypernatraemia|hyponatraemia,
hyperchloremia|hypochloremia, hyperchloraemia|hypochloraemia, hyperglycemia|hypoglycemia,
hyperglycaemia|hypoglycaemia,
hypercalcemia|hypocalcemia, hyperphosphatemia|hypophosphatemia, hypermagnesemia|hypomagnesemia, positive|deficient
"""
_FLIPS: dict[str, str] = {}
for _pair in _PAIRS.replace("\n", " ").split(","):
    _one, _other = (_word.strip() for _word in _pair.split("|"))
    _FLIPS.setdefault(_one, _other)
    _FLIPS.setdefault(_other, _one)
_WORDS = re.compile(
    "|".join(rf"(?<![\w/-]){re.escape(word)}(?![\w])" for word in sorted(_FLIPS, key=len, reverse=True)), re.I
)


def flipped(text: str) -> str:
    """The statement with its directions turned round; itself where it has none.

    >>> flipped("Creatinine rose from 1.1 to 3.2, up to 3.2.")
    'Creatinine fell from 1.1 to 3.2, down to 3.2.'
    """
    return _WORDS.sub(lambda match: _FLIPS[match[0].lower()], text)

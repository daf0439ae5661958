"""Numbers in words for the labs' sentences; `page/words.js` says the same in saved pages."""

import math

import numpy as np


def significant(number: float, digits: int) -> str:
    """So many digits that count, without an exponent: 0.000019, 40.5."""
    return str(np.format_float_positional(float(f"{number:.{digits}g}"), trim="-"))


def percent(share: float) -> str:
    """A share in words, to three digits: 40.5%."""
    return "under 0.001%" if 0 < 100 * share < 0.001 else f"{significant(100 * share, 3)}%"


def bits(amount: float) -> str:
    """An amount of information in words: 1 bit, 0.5 bits."""
    return f"{significant(amount, 3)} bit" + ("" if amount == 1 else "s")


def whole(number: float) -> str:
    """A number rounded to a whole one, halves up, its thousands parted: 1,234."""
    return f"{math.floor(number + 0.5):,}"

"""Numbers as people write them: 0.044, "4.4%", "4/90", "0,044" are the same answer."""

import math
import re
from collections.abc import Iterator

_GROUPED = {",": re.compile(r"-?\d{1,3}(,\d{3})+"), ".": re.compile(r"-?\d{1,3}(\.\d{3})+")}
_NUMBER = r"-?(?:\d[\d.,]*|[.,]\d+)(?:e[+-]?\d+)?"
_ANSWER = re.compile(rf"(?P<number>{_NUMBER})(?:/(?P<divisor>{_NUMBER}))?(?P<percent>%?)[a-z]*")


def readings(answer: object) -> list[float]:
    """What an answer may mean, the likeliest first; empty where it is no number.

    A comma is a decimal sign, and where it could part thousands, that too; never raises.
    """
    if isinstance(answer, str):
        return _read(answer)
    try:
        return [float(answer)]  # type: ignore[arg-type]
    except Exception:  # whatever a student's object raises
        return []


def _read(text: str) -> list[float]:
    plain = re.sub(r"[\s_'’]", "", text.lower()).replace("−", "-").replace("–", "-")
    found = _ANSWER.fullmatch(plain)
    if found is None:
        return []
    scale = 100 if found["percent"] else 1
    divisors = [1.0] if found["divisor"] is None else list(_decimals(found["divisor"]))
    values = (
        number / divisor / scale for number in _decimals(found["number"]) for divisor in divisors if divisor
    )
    return [value for value in dict.fromkeys(values) if math.isfinite(value)]


def _decimals(text: str) -> Iterator[float]:
    """The numbers that digits with commas and points may stand for."""
    signs = [sign for sign in text if sign in ",."]
    last = signs[-1] if signs else "."
    other = "." if last == "," else ","
    if signs.count(last) <= 1:
        yield float(text.replace(other, "").replace(last, "."))
    if set(signs) == {last} and _GROUPED[last].fullmatch(text):
        yield float(text.replace(last, ""))

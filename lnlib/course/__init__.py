"""The course: labs, plots, exercises. It needs what `lnlib[lab]` installs."""

from typing import Any

import lnlib.course.labs as labs


def __getattr__(attribute: str) -> Any:
    """The labs by name, `from lnlib.course import FanoLab`, each imported when it is asked for."""
    if attribute in labs.LABS.values():
        return getattr(labs, attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")

"""One's own progress through the exercises, in a file beside the notebooks; nothing is sent anywhere."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lnlib.files import write_text

FILE = "my-progress.json"
DEEPER = "deeper"
"""The folder of lessons beside the lessons: both have one file."""
WHERE = "LNLIB_PROGRESS"
"""Names another file; empty for none at all."""


def path() -> Path | None:
    """Where progress is kept: beside the lessons unless the environment says otherwise."""
    beside = Path("..", FILE) if Path.cwd().name == DEEPER else Path(FILE)
    chosen = os.environ.get(WHERE, beside)
    return Path(chosen) if chosen else None


def read() -> dict[str, dict[str, Any]]:
    """The exercises that were tried, by lesson and name: how often, and whether one answer was right."""
    place = path()
    try:
        stored = json.loads(place.read_text(encoding="utf-8")) if place else {}
    except (OSError, ValueError):  # none yet, or one that somebody edited
        return {}
    return {
        lesson: {
            name: entry
            for name, entry in tried.items()
            if isinstance(entry, dict) and isinstance(entry.get("tries"), int)
        }
        for lesson, tried in (stored.items() if isinstance(stored, dict) else ())
        if isinstance(tried, dict)
    }


def note(lesson: str, name: str, *, correct: bool) -> None:
    """Count one answer. A folder that cannot be written keeps no progress: a lesson goes on without."""
    place = path()
    if place is None:
        return
    stored = read()
    entry = stored.setdefault(lesson, {}).setdefault(name, {"tries": 0, "right": False})
    entry["tries"] += 1
    entry["right"] = bool(entry.get("right")) or correct
    with suppress(Exception):
        write_text(place, json.dumps(stored, indent=2, sort_keys=True) + "\n")

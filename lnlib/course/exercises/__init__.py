"""The lessons' exercises, one module a lesson: question, check, hints and solution are one function."""

from importlib import import_module

from lnlib.course.exercises.exercise import Exercise, Markdown
from lnlib.course.exercises.progress import read
from lnlib.course.lessons import LESSONS


def of_lesson(lesson: str) -> dict[str, Exercise]:
    """A lesson's exercises by name, in the order in which they are asked."""
    module = import_module(f"{__name__}.{lesson}")
    return {name: one for name, one in vars(module).items() if isinstance(one, Exercise)}


def __getattr__(name: str) -> Exercise:
    """The exercise of that name, whichever lesson asks it."""
    for lesson in LESSONS:
        if name in (found := of_lesson(lesson)):
            return found[name]
    raise AttributeError(f"there is no exercise {name!r} in {__name__}")


def my_progress() -> Markdown:
    """What you have solved in each lesson, from the file beside the notebooks."""
    tried = read()
    lines = ["| lesson | solved | tried, still open |", "| --- | --- | --- |"]
    for lesson, title in LESSONS.items():
        own, every = tried.get(lesson, {}), of_lesson(lesson)
        right = [name for name in every if own.get(name, {}).get("right")]
        still = ", ".join(f"`{name}`" for name in every if name in own and name not in right)
        lines.append(f"| {title} | {len(right)} of {len(every)} | {still} |")
    return Markdown("\n".join(lines))

"""The quizzes in GIFT, which Moodle and others import."""

from lnlib.course import quiz
from lnlib.course.exports.lessons import Files, Lessons
from lnlib.course.lessons import LESSONS


def gift(lessons: Lessons) -> Files:
    """A file for each lesson, and one for all; the quizzes are lnlib's own, whatever the notebooks."""
    texts = {name: quiz.of_lesson(name).gift() for name in LESSONS}
    texts["all_lessons"] = "\n\n".join(text.strip() for text in texts.values()) + "\n"
    return {f"{name}.gift": text.encode() for name, text in texts.items()}

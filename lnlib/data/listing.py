"""What lies in a folder: every file is a picture of a class and a split, or left out with a reason."""

import difflib
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lnlib.data.decoding import formats, is_picture
from lnlib.data.reading import Skipped
from lnlib.errors import DataUnavailable, InvalidValue

Layout = Literal["auto", "classes"]
SYSTEM = {
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "__pycache__",
}
"""Folders that systems and servers leave behind, in small letters; so are names that begin with a dot."""
PICTURES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib", ".avif",
    ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif",
    ".eps", ".psd", ".svg", ".xcf", ".tga", ".ico", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2",
    ".raf",
}  # fmt: skip
"""Ends of names that promise a picture. One of these that cannot be read, be it damaged or of a format that
is not read, is an error; any other file is a picture if its content is one, and is left out if not."""
SPLITS = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
ORDER = ("", "training", "validation", "test")
_LIKE_A_SPLIT = re.compile(rf"(?<![a-z])({'|'.join(SPLITS)})(?![a-z])", re.IGNORECASE)
_HALVES = (
    re.compile(r"(jpeg|png)?(images?|imgs?|photos?|pictures?)", re.IGNORECASE),
    re.compile(r"(masks?|labels?|annotations?|segmentations?|ground.?truth)", re.IGNORECASE),
)
"""Two folders of these names are the two halves of a segmentation data set, not two classes."""
HIDDEN, CIRCLE, NO_FILE, BESIDE = (
    "hidden, or left behind by a system",
    "a link to a folder that is read anyway",
    "a broken link or no file",
    "beside the class folders, in none",
)
LOCKED = "a folder that cannot be read"


@dataclass(frozen=True)
class Listed:
    """The picture files below a root with the class and the split ("training", "validation", "test" or "") of
    each, sorted by split and class; what was left out; and the layout in words.
    """

    layout: str
    class_names: tuple[str, ...]
    files: tuple[str, ...]
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def walk(root: Path) -> tuple[list[str], list[str], list[Skipped]]:
    """Files and folders below a root, and what is left out, by their names below it, sorted.

    Links to files are followed. Links to folders are followed where they lead out of the folder, but never to
    one that is read anyway: such a link would double pictures, and one that leads upwards has no end.
    """
    files, folders, skipped = [], [], []
    pending: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    followed = set()
    while pending:
        below, chain = pending.pop()
        try:
            entries = list(os.scandir(root / below))
        except OSError:
            skipped.append(Skipped(below, LOCKED))
            continue
        for entry in entries:
            name, link = below + entry.name, entry.is_symlink()
            # Of a link that leads to itself an entry raises, where os.path says no.
            folder, file = entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False)
            if _is_hidden(entry.name):
                skipped.append(Skipped(name + "/" * folder, HIDDEN))
            elif file or (link and os.path.isfile(entry.path)):
                files.append(name)
            elif not folder and not (link and os.path.isdir(entry.path)):
                skipped.append(Skipped(name, NO_FILE))
            elif not link:
                folders.append(name)
                pending.append((f"{name}/", chain))
            else:
                target = os.path.realpath(entry.path)
                once = name.split("/")[0], target
                if once in followed or any(_is_read_with(target, above) for above in chain):
                    skipped.append(Skipped(name, CIRCLE))
                else:
                    followed.add(once)
                    folders.append(name)
                    pending.append((f"{name}/", (*chain, target)))
    return sorted(files), sorted(folders), sorted(skipped, key=lambda one: one.file)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM


def _is_read_with(target: str, folder: str) -> bool:
    """Whether who reads one folder meets the other: one lies in the other, and is not hidden there."""
    if Path(folder).is_relative_to(target):
        return True
    inside = Path(target).is_relative_to(folder)
    return inside and not any(map(_is_hidden, Path(target).relative_to(folder).parts))


def list_folder(root: Path, layout: Layout = "auto") -> Listed:
    """The pictures of a folder by class and split; names decide, and of odd names the file's first bytes.

    Raises `InvalidValue` with the command that would work where it is not clear which folders are classes,
    and `DataUnavailable` for folders that cannot be read.
    """
    refuse_what_holds_everything(root, layout)
    files, folders, skipped = walk(root)
    if locked := [one.file for one in skipped if one.reason == LOCKED]:
        raise DataUnavailable(
            f"cannot read the folder {root / locked[0]}; allow it with chmod, or move it away"
        )
    pictures = []
    for file in files:
        end = os.path.splitext(file)[1].lower()
        if end in PICTURES or is_picture(root / file):
            pictures.append(file)
        else:
            skipped.append(Skipped(file, f"no picture ({end})" if end else "no picture"))
    tree = _Tree.of(folders, pictures)
    if not pictures:
        ignored = f", {len(skipped)} files and folders are none (first {skipped[0].file})" if skipped else ""
        raise InvalidValue(
            f"there is no picture under {root}{ignored}; put some into each of its class folders, as "
            f"{', '.join(formats())}"
        )
    splits = _splits(root, tree) if layout == "auto" else {}
    parts = [(split, name, tree.folders[name]) for name, split in splits.items()] or [("", "", tree)]
    rows = []
    for split, below, part in sorted(parts, key=lambda one: ORDER.index(one[0])):
        if layout == "auto":
            _check_classes(root / below, part)
        loose = [*part.own, *(tree.own if split == "training" else ())]
        skipped += [Skipped(file, BESIDE) for file in loose]
        for name, inner in part.folders.items():
            rows += [(split, name, file) for file in sorted(inner.all_files(), key=os.path.split)]
    class_names = _common_classes(root, [(below, tuple(part.folders)) for _, below, part in parts])
    of_splits, classes, names = zip(*rows, strict=True)
    words = f"a folder for each class{said_of({split: name for name, split in splits.items()})}"
    skipped.sort(key=lambda one: one.file)
    return Listed(words, class_names, names, classes, of_splits, tuple(skipped))


def refuse_what_holds_everything(root: Path, layout: Layout) -> None:
    """Raise for a disk, which takes minutes, and for the home unless its folders are said to be classes."""
    whole, home = root.resolve(), Path(os.path.expanduser("~")).resolve()
    if whole.parent == whole or (layout == "auto" and home.is_relative_to(whole)):
        raise InvalidValue(
            f"{root} holds much more than pictures; give the folder that holds one folder per class, "
            f"as {command(whole / 'path' / 'to' / 'pictures')}"
        )


@dataclass(frozen=True)
class _Tree:
    """The pictures that lie in a folder itself, by their whole names, and its folders."""

    own: list[str]
    folders: "dict[str, _Tree]"

    @classmethod
    def of(cls, folders: list[str], pictures: list[str]) -> "_Tree":
        nodes = {"": cls([], {})}
        for folder in folders:  # sorted, so that what holds a folder comes before it
            above, _, name = folder.rpartition("/")
            nodes[folder] = nodes[above].folders[name] = cls([], {})
        for picture in pictures:
            nodes[picture.rpartition("/")[0]].own.append(picture)
        return nodes[""]

    def all_files(self) -> Iterator[str]:
        yield from self.own
        for folder in self.folders.values():
            yield from folder.all_files()

    def filled(self) -> list[str]:
        """The folders below which there are pictures."""
        return [name for name, folder in self.folders.items() if next(folder.all_files(), None)]

    @property
    def holds_classes(self) -> bool:
        """Whether it looks like a folder of classes: no picture of its own and several folders of them."""
        return not self.own and len(self.filled()) > 1


def _splits(root: Path, tree: _Tree) -> dict[str, str]:
    """Which folders are which splits; none where the folders are the classes. Raises for what is neither."""
    names = list(tree.folders)
    if not tree.filled():
        raise InvalidValue(
            f"the pictures of {root} must lie in one folder per class, got {len(tree.own)} in none; make "
            "folders, or give a table of files and labels as --dataset csv:FILE"
        )
    if len(names) == 1:
        below, inner = names[0], tree.folders[names[0]]
        while not inner.holds_classes and len(inner.folders) == 1:
            (name,) = inner.folders
            below, inner = f"{below}/{name}", inner.folders[name]
        hint = f"try {command(root / below)}" if inner.holds_classes else "add folders"
        raise InvalidValue(f"{root} must hold at least 2 folders, one per class, got 1 ({names[0]}); {hint}")
    found = {name: SPLITS[name.lower()] for name in names if name.lower() in SPLITS}
    like = [name for name in names if _LIKE_A_SPLIT.search(name)]
    with_classes = [
        name for name in like if len(tree.folders[name].filled()) > (len(tree.folders[name].own) > 0)
    ]
    if len(found) == len(names):
        whole = len(with_classes) == len(names) and len({*found.values()}) == len(names)
        if whole and "training" in found.values():
            return found
    if with_classes and (len(found) == len(names) or any(tree.folders[name].holds_classes for name in like)):
        roles = {name: SPLITS[_LIKE_A_SPLIT.findall(name)[0].lower()] for name in with_classes}
        best = min(with_classes, key=lambda name: ORDER.index(roles[name]))
        others = ", ".join(name for name in names if name != best)
        raise InvalidValue(
            f"{best} of {root} looks like a split with a folder per class, beside {others}, which is none; "
            f"try {command(root / best)}, or --layout classes if all these are classes"
        )
    halves = [[name for name in names if kind.fullmatch(name)] for kind in _HALVES]
    odd = like if len(like) > 1 else [*halves[0], *halves[1]] if all(halves) else []
    if odd:
        fitting = [name for name in odd if tree.folders[name].holds_classes]
        hint = f"try {command(root / fitting[0])}" if fitting else "give a table as --dataset csv:FILE"
        raise InvalidValue(
            f"{root} must hold one folder per class, {' and '.join(odd)} look like none; {hint}, or say "
            "--layout classes if they are classes"
        )
    return {}


def _check_classes(root: Path, tree: _Tree) -> None:
    """Raise where a class folder may be none: it holds only folders, or a folder called as another class."""
    for name, folder in tree.folders.items():
        if folder.holds_classes:
            inside = folder.filled()
            raise InvalidValue(
                f"{root / name} must hold the pictures of one class, got {len(inside)} folders of them "
                f"({', '.join(inside[:3])}); try {command(root / name)} if these are the classes, or say "
                f"--layout classes if {name} is one"
            )
        if inner := sorted({*folder.folders} & {*tree.folders} - {name}):
            raise InvalidValue(
                f"{root / name} must hold the pictures of one class, got a folder {inner[0]} in it, as "
                f"another class is called; move it, or say --layout classes if all in it is {name}"
            )


def _common_classes(root: Path, parts: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, ...]:
    first, names = parts[0]
    for other, theirs in parts[1:]:
        if odd := {*names} ^ {*theirs}:
            raise InvalidValue(
                f"{first} and {other} of {root} must hold the same classes, but only one of them has "
                f"{', '.join(sorted(odd))}; add or remove these folders"
            )
    if len(names) < 2:
        raise InvalidValue(f"{root / first} must hold at least 2 folders, one per class, got 1; add folders")
    return tuple(sorted(names))


def said_of(splits: Mapping[str, str]) -> str:
    """What is done with splits, by their name where they come from; nothing where there are none."""
    if not splits:
        return ""
    words = f" with the splits {', '.join(splits[split] for split in ORDER if split in splits)}"
    if "validation" not in splits:
        return words
    if "test" not in splits:
        return f"{words}; {splits['validation']} is the test set"
    return f"{words}; {splits['validation']} is added to {splits['training']}, of which validation is drawn"


def command(source: Path | str) -> str:
    """The option that names a folder, or any source by its name, as a shell takes it."""
    return f"--dataset {shlex.quote(source if isinstance(source, str) else f'folder:{source}')}"


def instead_of(file: Path) -> str:
    """The option that fits a file: a table, or the folder above it that holds folders."""
    if file.suffix.lower() in (".csv", ".tsv"):
        return command(f"csv:{file}")
    above = file.absolute().parent
    holds_folders = any(entry.is_dir() for entry in os.scandir(above))
    return command(above if holds_folders else above.parent)


def missing_folder(path: Path) -> DataUnavailable:
    """The error for a folder that is not there: what fits the file in its place, or the nearest name."""
    if path.is_file():
        return DataUnavailable(f"{path} is a file, no folder; try {instead_of(path)}")
    hint = "give the folder that holds one folder per class, as --dataset folder:path/to/pictures"
    if near := nearest(path, os.path.isdir):
        hint = f"did you mean {command(near)}?"
    return DataUnavailable(f"there is no folder {path}; {hint}")


def nearest(path: Path, fits: Callable[[Path], bool]) -> Path | None:
    """The path with its first name that is not there replaced by the one that is most like it."""
    missing = path.absolute()
    while not missing.parent.is_dir():
        missing = missing.parent
    there = [one.name for one in os.scandir(missing.parent)] if os.access(missing.parent, os.R_OK) else []
    near = difflib.get_close_matches(missing.name, there)
    found = [missing.with_name(name) / path.absolute().relative_to(missing) for name in near]
    return next(filter(fits, found), None)

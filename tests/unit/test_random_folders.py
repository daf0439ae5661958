"""Random folders: either one clear sentence, or every file is accounted for once and read as it is."""

import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image

from lnlib import data
from lnlib.errors import LnlibError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and odd names need another system")

ODD = [
    "[red]a",
    "<img onerror=1>",
    "ünï",
    "\u202ebidi",
    "new\nline",
    "\x1b[31m",
    "-b",
    "=1+1",
    os.fsdecode(b"\xff"),
    " ",
]
SPLITS = ["train", "val", "Test", "validation", "TRAINING", "seg_train", "images", "masks"]
HIDDEN = [".git", "__MACOSX", ".ipynb_checkpoints", "@eaDir"]
NAMES = st.sampled_from(["a", "b", "c", *ODD]) | st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=5
).filter(lambda name: name not in (".", ".."))
FOLDERS = st.one_of(NAMES, NAMES, st.sampled_from(SPLITS + HIDDEN))
ENDS = st.sampled_from([".png", ".gif", ".tif", ".webp", ".PNG", "", ".txt", ".jpeg"])
SEEN = {"L": None, "RGB": None, "LA": None, "P": None, "1": 0, "CMYK": None, "clear": 255}
"""What a picture of one grey is seen as, by its mode: the grey itself, black, or white."""
PICTURE = st.tuples(st.just("picture"), st.sampled_from(sorted(SEEN)), ENDS, st.integers(38, 46))
OTHER = st.one_of(
    st.tuples(st.just("junk"), st.binary(max_size=9), ENDS),
    st.tuples(st.just("short"), st.integers(1, 60), ENDS),
    st.tuples(
        st.just("link"),
        st.sampled_from(["..", ".", "nowhere", "../a", "../b", "../a/0.png", "../../outside"]),
    ),
    st.tuples(st.just("pipe")),
)


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[list[str], str, tuple]]:
    """Entries of a folder: mostly a few classes, bare or in splits, and whatever else comes."""
    classes = draw(st.lists(NAMES, min_size=draw(st.sampled_from([0, 2, 2, 2])), max_size=3, unique=True))
    bare, pair = [[]], [["train"], ["test"]]
    splits = draw(st.sampled_from([bare, bare, bare, pair, [["Train"], ["val"], ["TEST"]], [["x"], ["y"]]]))
    level, tree = 40, []
    for split in splits:
        for name in classes:
            for number in range(draw(st.integers(3, 5))):
                tree.append(([*split, name], f"{number}", ("picture", "L", ".png", level := level + 1)))
    known = [(split, [name]) for split in splits for name in classes] or [([], [])]
    inside = st.sampled_from(known).flatmap(
        lambda one: st.sampled_from(["", "", "", "sub", *HIDDEN]).map(
            lambda sub: one[0] + one[1] + [sub] * bool(sub)
        )
    )
    anywhere = st.lists(FOLDERS, max_size=3)
    folders = st.integers(0, 9).flatmap(lambda number: anywhere if number == 9 else inside)
    return tree + draw(st.lists(st.tuples(folders, NAMES, st.one_of(PICTURE, PICTURE, OTHER)), max_size=8))


def make(root: Path, folders: list[str], name: str, what: tuple, levels: dict[Path, int]) -> None:
    """One entry; what cannot be made, as a file where a folder stands, is left out."""
    folder = root.joinpath(*folders)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kind, *rest = what
        file = folder / (
            name + (rest[-1] if kind in ("junk", "short") else rest[1] if kind == "picture" else "")
        )
        if file.is_symlink() or file.exists():
            return
        if kind == "link":
            file.symlink_to(rest[0])
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "junk":
            file.write_bytes(rest[0])
        else:
            mode, level = (rest[0], rest[2]) if kind == "picture" else ("L", 9)
            picture = Image.new("L", (6, 6), level)
            if mode in ("1", "clear"):
                picture = Image.new("1", (6, 6)) if mode == "1" else Image.new("RGBA", (6, 6), (0, 0, 0, 0))
            else:
                picture = picture.convert(mode)
            # Some contents belie the name, as they do in folders.
            form = {".gif": "GIF", ".tif": "TIFF", ".webp": "WEBP"}.get(file.suffix, "PNG")
            if mode in ("LA", "CMYK", "clear"):
                form = "TIFF" if mode == "CMYK" else "PNG"
            picture.save(file, form, **({"lossless": True} if form == "WEBP" else {}))
            if kind == "short":
                file.write_bytes(file.read_bytes()[: rest[0]])
            levels[file] = level if SEEN[mode] is None else SEEN[mode]
    except OSError:
        pass


def entries(root: Path, below: str = "") -> Iterator[str]:
    """Everything but folders, no link followed."""
    for entry in os.scandir(root / below):
        if entry.is_dir(follow_symlinks=False):
            yield from entries(root, f"{below}{entry.name}/")
        else:
            yield below + entry.name


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees(), st.sampled_from(["auto", "auto", "classes"]), st.sampled_from(["stop", "skip", "skip"]))
def test_a_random_folder_is_refused_in_a_sentence_or_accounted_for(tree, layout, unreadable):
    with tempfile.TemporaryDirectory() as scratch:
        place, levels = Path(os.path.realpath(scratch)), {}
        root = place / "pictures"
        for number in range(2):
            make(place / "outside", [], str(number), ("picture", "L", ".png", 200 + number), levels)
        root.mkdir()
        for one in tree:
            make(root, *one, levels)
        before = sorted(map(str, place.rglob("*")))
        try:
            mine = data.image_folder(root, size=6, layout=layout, unreadable=unreadable)
        except LnlibError as error:
            event("refused")
            sentence = str(error)
            assert sentence and "; " in sentence and "Traceback" not in sentence
            return
        finally:
            assert before == sorted(map(str, place.rglob("*")))
        event("read")
        check(root, mine, levels)


def check(root: Path, mine: data.Dataset, levels: dict[Path, int]) -> None:
    used, left_out = [*mine.train_files, *mine.test_files], [one.file for one in mine.reading.skipped]
    # Once each, and nothing else.
    told = used + left_out
    assert len(told) == len(set(told))
    for name in entries(root):
        hidden = [one for one in left_out if one.endswith("/") and name.startswith(one)]
        followed = (root / name).is_dir() and name not in left_out and not hidden
        assert (name in told) + len(hidden) + followed == 1, name
    assert all(os.path.lexists(root / name) for name in told)
    assert not any((root / name).is_dir() for name in used)
    # No picture of the tree twice, but by links to files.
    assert len({os.path.realpath(root / name) for name in used if not (root / name).is_symlink()}) == sum(
        not (root / name).is_symlink() for name in used
    )
    # Each under its own label, with its own pixels.
    labels = [mine.class_names[label] for label in [*mine.train_labels.tolist(), *mine.test_labels.tolist()]]
    depth = 1 if "splits" in mine.reading.layout else 0
    assert all(name.split("/")[depth] == label for name, label in zip(used, labels, strict=True))
    for name, image in zip(used, [*mine.train_images.numpy(), *mine.test_images.numpy()], strict=True):
        level = levels[Path(os.path.realpath(root / name))]
        assert np.abs(image.astype(int) - level).max() <= 2, name
    # The counts are the data set's, and what is the same is told.
    counted = {one.name: (one.training, one.test) for one in mine.reading.classes}
    cut = len(mine.train_files)
    assert counted == {
        name: (labels[:cut].count(name), labels[cut:].count(name)) for name in mine.class_names
    }
    same = defaultdict(dict)
    for name, label in zip(used, labels, strict=True):
        same[(root / name).read_bytes()][name] = label
    groups = [group for group in same.values() if len(group) > 1]
    for found, kinds in ((mine.reading.contradictions, (2, 3, 4, 5)), (mine.reading.duplicates, (1,))):
        expected = {frozenset(group) for group in groups if min(len(set(group.values())), 5) in kinds}
        assert {frozenset(group) for group in found} == expected
    if depth == 0:
        train = set(mine.train_files)
        assert all(len({name in train for name in group}) == 1 for group in groups)


def test_a_cycle_of_links_through_another_folder_ends(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    for folder in (root / "a", root / "b", other / "x"):
        folder.mkdir(parents=True)
        for number in range(4):
            Image.new("L", (6, 6), 10 * number + len(folder.name + str(folder)) % 7).save(
                folder / f"{number}.png"
            )
    (root / "b" / "0.png").write_bytes(b"") or shutil.copy(other / "x" / "0.png", root / "b" / "0.png")
    (root / "a" / "out").symlink_to(other)
    (other / "x" / "up").symlink_to(other)
    (other / "x" / "home").symlink_to(root)
    (other / "y").symlink_to(other / "x")
    mine = data.image_folder(root, layout="classes")
    assert len(mine.train_files) + len(mine.test_files) == 12

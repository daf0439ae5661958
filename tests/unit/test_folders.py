"""A reader's own pictures: nothing that lies in a folder is silently left out, doubled or misread."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lnlib import data
from lnlib.data import listing
from lnlib.data.decoding import formats
from lnlib.data.task import make_task
from lnlib.errors import LnlibError
from lnlib.papers.spec import Spec

posix = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


def paint(
    file: Path, level: int = 0, mode: str = "L", size: tuple[int, int] = (9, 8), **options: object
) -> None:
    """A picture of its own bytes, as its level and its place in a stripe differ."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0]), level, dtype=np.uint8)
    pixels.flat[level % pixels.size] = 255 - level
    Image.fromarray(pixels).convert(mode).save(file, **options)


def fill(
    folder: Path, classes: str | list[str] = "abc", count: int = 4, end: str = "png", start: int = 0
) -> None:
    for position, name in enumerate(classes):
        for number in range(count):
            paint(folder / name / f"{number}.{end}", start + 20 * position + number)


def counts(dataset: data.Dataset) -> dict[str, tuple[int, int]]:
    assert dataset.reading is not None
    return {one.name: (one.training, one.test) for one in dataset.reading.classes}


def refusal(path: Path | str, **options: object) -> str:
    with pytest.raises(LnlibError) as caught:
        data.load(path if isinstance(path, str) else f"folder:{path}", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Layouts


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (["train", "test"], (4, 4)),
        (["Training", "TESTING"], (4, 4)),
        (["train", "val"], (4, 4)),
        (["train", "valid", "test"], (8, 4)),
        (["TRAIN", "Validation", "Test"], (8, 4)),
    ],
)
def test_splits_are_recognised_in_any_case_and_number(tmp_path, splits, expected):
    for position, name in enumerate(splits):
        fill(tmp_path / name, start=60 * position)
    mine = data.image_folder(tmp_path, size=6)
    assert counts(mine) == dict.fromkeys("abc", expected)
    held = splits[-1]
    assert {file.split("/")[0] for file in mine.test_files} == {held}
    assert all(name in mine.reading.layout for name in splits)
    assert ("is added to" in mine.reading.layout) == (len(splits) == 3)


@pytest.mark.parametrize(
    ("folders", "fitting"),
    [
        (["train"], "train"),
        (["data/train", "data/val"], "data"),
        (["train", "val", "extra"], "train"),
        (["train", "training"], "train"),
        (["seg_train", "seg_test"], "seg_train"),
        (["train2017", "val2017"], "train2017"),
        (["val", "test"], "val"),
        (["images", "masks"], "images"),
        (["one", "two"], "one"),
    ],
)
def test_what_may_be_meant_otherwise_is_refused_with_the_folder_that_fits(tmp_path, folders, fitting):
    root = tmp_path / "my root"
    for position, name in enumerate(folders):
        fill(root / name, start=60 * position)
    said = refusal(root)
    assert f"--dataset 'folder:{root / fitting}'" in said, said
    if len(folders) > 1 and "data" not in fitting:
        meant = data.image_folder(root, layout="classes")
        assert meant.class_names == tuple(sorted(folders))
        assert len(meant.train_files) + len(meant.test_files) == 12 * len(folders)
    data.image_folder(root / fitting)


def test_splits_without_class_folders_are_refused_unless_they_are_classes(tmp_path):
    fill(tmp_path, ["test", "train"])
    assert "train look like none" in refusal(tmp_path) and "--layout classes" in refusal(tmp_path)
    assert data.image_folder(tmp_path, layout="classes").class_names == ("test", "train")
    fill(tmp_path / "vehicles", ["train", "bus"])
    assert data.image_folder(tmp_path / "vehicles").class_names == ("bus", "train")


def test_a_test_folder_without_labels_is_no_split(tmp_path):
    fill(tmp_path / "train")
    paint(tmp_path / "test" / "1.png")
    assert f"--dataset folder:{tmp_path / 'train'}" in refusal(tmp_path)


def test_folders_in_a_class_are_read_with_it_unless_they_may_be_classes(tmp_path):
    fill(tmp_path, "abc")
    fill(tmp_path / "a", ["more"], start=200)
    assert counts(data.image_folder(tmp_path, test_fraction=0.25))["a"] == (6, 2)
    shutil.rmtree(tmp_path / "a")
    fill(tmp_path / "a", ["x", "y"], start=220)
    said = refusal(tmp_path)
    assert "2 folders of them (x, y)" in said and f"folder:{tmp_path / 'a'}" in said
    assert sum(counts(data.image_folder(tmp_path, layout="classes"))["a"]) == 8
    shutil.rmtree(tmp_path / "a")
    fill(tmp_path / "a", ["b"], start=220)
    assert "a folder b in it, as another class is called" in refusal(tmp_path)


def test_pictures_beside_the_class_folders_are_told(tmp_path):
    fill(tmp_path)
    paint(tmp_path / "overview.png", 99)
    assert data.image_folder(tmp_path).reading.skipped_counts == {listing.BESIDE: 1}
    assert "--dataset csv:FILE" in refusal(tmp_path / "a")


# Formats


def test_pictures_are_read_by_their_content_whatever_they_are_called(tmp_path):
    ends = ["gif", "jfif", "tif", "webp", "avif", "bmp", "jp2", "jpeg"]
    for position, name in enumerate("ab"):
        for number, end in enumerate(ends):
            paint(tmp_path / name / f"{number}.{end}", 100 * position + number)
        paint(tmp_path / name / "10.png", 100 * position + 10)
        (tmp_path / name / "10.png").rename(tmp_path / name / "no extension")
    mine = data.image_folder(tmp_path)
    assert sum(map(sum, counts(mine).values())) == 2 * (len(ends) + 1) and mine.reading.skipped == ()


def test_the_first_picture_of_an_animation_is_read(tmp_path):
    fill(tmp_path, "ab")
    frames = [Image.new("L", (8, 8), level) for level in (10, 250)]
    frames[0].save(tmp_path / "a" / "film.gif", save_all=True, append_images=frames[1:])
    mine = data.image_folder(tmp_path, size=4)
    files, images = mine.train_files + mine.test_files, torch.cat([mine.train_images, mine.test_images])
    assert (images[files.index("a/film.gif")] == 10).all()


def test_heic_is_read_where_pillow_can(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    fill(tmp_path, "ab", end="heic")
    assert counts(data.image_folder(tmp_path)) == {"a": (3, 1), "b": (3, 1)}


def test_what_is_no_picture_is_counted_by_the_end_of_its_name(tmp_path):
    fill(tmp_path)
    for number in range(3):
        (tmp_path / "a" / f"{number}.txt").write_text("a note")
    (tmp_path / "b" / "0.JSON").write_text("{}")
    (tmp_path / "c" / "LICENSE").write_text("free")
    mine = data.image_folder(tmp_path)
    assert mine.reading.skipped_counts == {"no picture (.txt)": 3, "no picture (.json)": 1, "no picture": 1}
    rows = {row["beside them"]: row for row in mine.reading.other_rows()}
    assert rows["left out: no picture (.txt)"] == {
        "beside them": "left out: no picture (.txt)", "files": 3, "the first": "a/0.txt",
    }  # fmt: skip


def test_formats_that_run_other_programs_are_never_opened_and_damaged_pictures_stop(tmp_path):
    fill(tmp_path)
    assert not {"EPS", "PDF"} & {*formats()}
    Image.new("L", (8, 8)).save(tmp_path / "a" / "drawing.eps")
    shutil.copy(tmp_path / "a" / "drawing.eps", tmp_path / "a" / "disguised.png")
    whole = (tmp_path / "b" / "0.png").read_bytes()
    (tmp_path / "b" / "short.png").write_bytes(whole[: len(whole) // 2])
    said = refusal(tmp_path)
    assert "3 of 15 pictures" in said and "JPEG, PNG" in said and "--unreadable skip" in said
    mine = data.image_folder(tmp_path, unreadable="skip")
    assert {one.file for one in mine.reading.skipped} == {"a/drawing.eps", "a/disguised.png", "b/short.png"}
    assert all(one.reason.startswith("unreadable: ") for one in mine.reading.skipped)
    assert sum(map(sum, counts(mine).values())) == 12


def test_pictures_above_pillows_limit_are_named_with_the_remedy(tmp_path, monkeypatch):
    fill(tmp_path)
    for number, side in enumerate((11, 20)):  # above the limit, and above twice the limit
        paint(tmp_path / "a" / f"large{number}.png", 250, size=(side, side))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    said = refusal(tmp_path)
    assert (
        "2 of 14 pictures" in said
        and "large0.png (it has more than 100 pixels" in said
        and "shrink it" in said
    )


# Links, doubles and hidden folders


@posix
def test_links_double_no_picture(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    fill(root)
    fill(outside, ["more"], start=200)
    os.symlink("..", root / "a" / "loop")
    os.symlink(".", root / "a" / "self")
    os.symlink("../b", root / "a" / "of b")
    os.symlink("ring", root / "a" / "ring")
    os.symlink("nowhere.png", root / "a" / "broken.png")
    os.symlink(outside / "more", root / "c" / "more")
    os.symlink(outside / "more", root / "c" / "again")
    os.symlink(root, outside / "more" / "back")
    os.mkfifo(root / "b" / "pipe.png")
    mine = data.image_folder(root)
    assert sum(map(sum, counts(mine).values())) == 12 + 4 and sum(counts(mine)["c"]) == 8
    assert mine.reading.skipped_counts == {listing.CIRCLE: 5, listing.NO_FILE: 3}
    assert mine.reading.contradictions == mine.reading.duplicates == ()


@posix
def test_a_class_folder_may_be_a_link(tmp_path):
    fill(tmp_path / "elsewhere", "ab")
    (tmp_path / "root").mkdir()
    for name in "ab":
        os.symlink(tmp_path / "elsewhere" / name, tmp_path / "root" / name)
    assert counts(data.image_folder(tmp_path / "root")) == {"a": (3, 1), "b": (3, 1)}


def test_the_same_bytes_are_contradictions_or_duplicates(tmp_path):
    fill(tmp_path)
    shutil.copy(tmp_path / "a" / "0.png", tmp_path / "b" / "copy.png")
    shutil.copy(tmp_path / "a" / "1.png", tmp_path / "a" / "9.png")
    if sys.platform != "win32":
        os.symlink("../a/0.png", tmp_path / "c" / "link.png")
    mine = data.image_folder(tmp_path)
    (group,) = mine.reading.contradictions
    assert set(group) == {"a/0.png", "b/copy.png"} | ({"c/link.png"} if sys.platform != "win32" else set())
    assert mine.reading.duplicates == (("a/1.png", "a/9.png"),)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_bytes_fall_on_one_side_of_every_split(tmp_path, seed):
    fill(tmp_path, "ab", count=12)
    for number in range(6):
        shutil.copy(tmp_path / "a" / f"{number}.png", tmp_path / "a" / f"copy{number}.png")
        shutil.copy(tmp_path / "b" / f"{number}.png", tmp_path / "a" / f"wrong{number}.png")
    mine = data.image_folder(tmp_path, seed=seed)
    task = make_task(mine, np.eye(2), seed=seed, meta_size=4)
    files = {name: [mine.train_files[row] for row in split.index] for name, split in task.splits.items()}
    files["test"] = [*mine.test_files]
    found = {name: {(tmp_path / file).read_bytes() for file in some} for name, some in files.items()}
    names = sorted(found)
    assert all(not found[one] & found[other] for one in names for other in names if one < other)
    assert sum(map(len, files.values())) >= 36 - 4  # but for doubles of the meta set
    assert abs(len(files["test"]) - 7) <= 1 and abs(len(files["validation"]) - 6) <= 1
    spec = Spec.parse({"dataset": f"folder:{tmp_path}", "seed": seed})
    assert spec.sizes().train == len(spec.task().train)


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"])
def test_hidden_and_system_folders_are_skipped_at_every_level(tmp_path, name):
    fill(tmp_path / "train")
    fill(tmp_path / "test", start=100)
    for place in (tmp_path, tmp_path / "train", tmp_path / "train" / "a", tmp_path / "test" / "b"):
        fill(place / name, "ab", start=200)
    paint(tmp_path / "train" / "a" / "._1.png", 240)
    mine = data.image_folder(tmp_path)
    assert counts(mine) == dict.fromkeys("abc", (4, 4))
    assert mine.reading.skipped_counts == {listing.HIDDEN: 5}


# Modes


def disc(mode: str, **options: object) -> Image.Image:
    """A black disc's square on a ground that is transparent in every way that files know."""
    picture = Image.new(
        "LA" if mode == "LA" else "RGBA", (8, 8), (0,) * len(mode if mode == "LA" else "RGBA")
    )
    picture.paste((0, 255) if mode == "LA" else (0, 0, 0, 255), (2, 2, 6, 6))
    return picture


def test_transparency_is_laid_on_white_and_grey_stays_grey(tmp_path):
    root = tmp_path / "grey"
    fill(root, "ab")
    disc("LA").save(root / "a" / "disc.png")
    keyed = Image.new("L", (8, 8), 77)
    keyed.paste(0, (2, 2, 6, 6))
    keyed.save(root / "b" / "disc.png", transparency=77)
    expected = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    expected[:, 2:6, 2:6] = 0
    mine = data.image_folder(root, size=8)
    images = dict(
        zip(mine.train_files + mine.test_files, [*mine.train_images, *mine.test_images], strict=True)
    )
    assert mine.image_shape == (1, 8, 8)
    assert torch.equal(images["a/disc.png"], expected) and torch.equal(images["b/disc.png"], expected)

    disc("RGBA").save(root / "a" / "colour.png")
    disc("RGBA").save(root / "a" / "palette.gif", transparency=0)
    disc("RGBA").convert("P").save(root / "a" / "bytes.png", transparency=bytes([0] + [255] * 255))
    disc("RGBA").save(root / "a" / "disc.webp", lossless=True)
    mine = data.image_folder(root, size=8)  # a warning of Pillow's would be an error here
    images = dict(
        zip(mine.train_files + mine.test_files, [*mine.train_images, *mine.test_images], strict=True)
    )
    for name in ("colour.png", "palette.gif", "disc.webp", "disc.png"):
        assert torch.equal(images[f"a/{name}"], expected.expand(3, 8, 8)), name


def test_a_half_transparent_pixel_is_half_white(tmp_path):
    fill(tmp_path, "ab")
    Image.new("RGBA", (8, 8), (200, 0, 100, 128)).save(tmp_path / "a" / "veil.png")
    mine = data.image_folder(tmp_path, size=4)
    images = dict(
        zip(mine.train_files + mine.test_files, [*mine.train_images, *mine.test_images], strict=True)
    )
    by_hand = torch.tensor([255 + (level - 255) * 128 / 255 for level in (200, 0, 100)])
    torch.testing.assert_close(images["a/veil.png"][:, 2, 2].float(), by_hand, atol=1, rtol=0)


def test_cmyk_and_lab_become_colour_and_deep_pictures_are_refused(tmp_path):
    fill(tmp_path, "ab")
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a" / "red.jpg", quality=100)
    Image.merge("LAB", [Image.new("L", (8, 8), level) for level in (136, 81, 70)]).save(
        tmp_path / "b" / "lab.tif"
    )
    mine = data.image_folder(tmp_path, size=4)
    images = dict(
        zip(mine.train_files + mine.test_files, [*mine.train_images, *mine.test_images], strict=True)
    )
    red, _, blue = images["a/red.jpg"][:, 2, 2].tolist()
    assert red > 245 and blue < 10
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(tmp_path / "a" / "deep.png")
    Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)).save(tmp_path / "a" / "float.tiff")
    assert "2 of 12 pictures" in (said := refusal(tmp_path)) and "save it with 8" in said


def test_a_constant_channel_is_valid_data(tmp_path):
    for name, level in (("a", 40), ("b", 200)):
        for number in range(4):
            picture = np.zeros((6, 6, 3), dtype=np.uint8)
            picture[..., 0], picture[number, 0, 0] = level, 255
            picture[..., 2] = 90
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / name / f"{number}.png")
    mine = data.image_folder(tmp_path, size=6)
    assert mine.std[1:] == (1.0, 1.0) and mine.mean[2] == pytest.approx(90 / 255)
    assert float(mine.normalize(mine.train_images)[:, 1:].abs().max()) < 1e-6
    flat = data.from_arrays(np.full((10, 4, 4), 77, dtype=np.uint8), np.arange(10) % 2)
    assert flat.std == (1.0,) and float(flat.normalize(flat.train_images).abs().max()) < 1e-6

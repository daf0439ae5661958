"""Data sets: the bundled digits, files in MNIST's format, downloads that fail, and folders of pictures."""

import errno
import gzip
import hashlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision.datasets.mnist
from PIL import Image
from sklearn.datasets import load_digits

from lnlib import data
from lnlib.data.dataset import stratified_order
from lnlib.data.task import make_task
from lnlib.errors import DataUnavailable, InvalidValue, UnknownName

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array: np.ndarray) -> bytes:
    """An array in MNIST's file format."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes() + array.tobytes()


def tiny_parts() -> dict[str, bytes]:
    """The contents of the four files of a data set of 30 and 20 images."""
    generator = np.random.default_rng(0)
    parts = {}
    for part, count in (("train", 30), ("t10k", 20)):
        parts[f"{part}-images-idx3-ubyte"] = idx(generator.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        parts[f"{part}-labels-idx1-ubyte"] = idx((np.arange(count) % 10).astype(np.uint8))
    return parts


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def fashion(root) -> Path:
    """The folder of a tiny Fashion-MNIST, whose unpacked files have no published checksum."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for file, content in tiny_parts().items():
        (folder / file).write_bytes(content)
    return folder


def one_line(caught) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_digits_are_scikit_learns_with_a_fixed_stratified_test_set(digits):
    assert digits.train_images.shape == (1500, 1, 8, 8) and digits.test_images.shape == (297, 1, 8, 8)
    assert digits.train_images.dtype == torch.uint8 and digits.train_labels.dtype == torch.int64
    assert (digits.num_classes, digits.image_shape) == (10, (1, 8, 8))
    bunch = load_digits()
    assert torch.bincount(digits.test_labels).tolist() == pytest.approx(
        np.bincount(bunch.target) * 297 / 1797, abs=1
    )

    def rows(images, labels):
        flat = np.concatenate([images.reshape(len(images), -1), np.asarray(labels)[:, None]], axis=1)
        return flat[np.lexsort(flat.T)]

    ours = torch.cat([digits.train_images, digits.test_images]).numpy()
    ours = rows(np.rint(ours * (16 / 255)), torch.cat([digits.train_labels, digits.test_labels]))
    assert np.array_equal(ours, rows(bunch.images, bunch.target))
    assert torch.equal(digits.test_images, data.load("digits").test_images)


def test_normalize_gives_training_images_mean_0_and_std_1(digits):
    pixels = digits.normalize(digits.train_images)
    assert pixels.dtype == torch.float32 and pixels.shape == digits.train_images.shape
    assert float(pixels.mean()) == pytest.approx(0, abs=1e-5)
    assert float(pixels.std()) == pytest.approx(1, abs=1e-3)
    value = (int(digits.train_images[3, 0, 4, 4]) / 255 - digits.mean[0]) / digits.std[0]
    assert float(digits.normalize(digits.train_images[3])[0, 4, 4]) == pytest.approx(value, abs=1e-6)


def test_metainfonets_scale_is_told_in_pixels():
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 1, 1)
    scale = {"mean": data.METAINFONET_MEAN, "std": data.METAINFONET_STD}
    mine = dataset(train_images=images, test_images=images[:2], **scale)
    assert mine.normalize(images)[3].flatten().tolist() == pytest.approx(
        [(3 - 125.3) / 63.0, (3 - 123.0) / 62.1, (3 - 113.9) / 66.7]
    )


def test_mnist_is_whole(mnist):
    assert mnist.train_images.shape == (60_000, 1, 28, 28) and mnist.test_images.shape == (10_000, 1, 28, 28)
    assert torch.bincount(mnist.train_labels).tolist()[:3] == [5923, 6742, 5958]
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert float(mnist.train_images.float().mean() / 255) == pytest.approx(0.1307, abs=1e-4)
    assert (mnist.mean, mnist.std) == ((0.456,), (0.224,))


def test_files_in_mnists_format_are_read_as_torchvision_reads_them(fashion):
    ours = data.load("fashion-mnist")
    theirs = torchvision.datasets.FashionMNIST(str(fashion.parents[1]), train=True)
    assert torch.equal(ours.train_images[:, 0], theirs.data) and torch.equal(
        ours.train_labels, theirs.targets
    )
    assert list(ours.class_names) == theirs.classes
    assert len(ours.test_images) == 20


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_absent_data_say_how_to_get_them(root, name):
    with pytest.raises(DataUnavailable) as caught:
        data.load(name)
    message = one_line(caught)
    folder = root / ("MNIST" if name == "mnist" else "FashionMNIST") / "raw"
    kind = torchvision.datasets.MNIST if name == "mnist" else torchvision.datasets.FashionMNIST
    assert f"`lnlib data fetch {name}`" in message and "LNLIB_DATA" in message
    assert str(folder) in message and kind.mirrors[0] in message
    assert all(f"{file}.gz" in message for file in FILES)
    assert not any(root.iterdir())


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("keep", [0, 3, 9, 27, -1])
def test_a_file_cut_short_is_named(fashion, file, keep):
    (fashion / file).write_bytes(tiny_parts()[file][:keep])
    with pytest.raises(
        DataUnavailable, match=r"cut short or damaged: its header .*lnlib data fetch"
    ) as caught:
        data.load("fashion-mnist")
    assert str(fashion / file) in one_line(caught)


def test_other_damage_is_named(fashion):
    labels = fashion / "train-labels-idx1-ubyte"
    for content in (idx(np.arange(29, dtype=np.uint8) % 10), idx(np.full(30, 10, dtype=np.uint8))):
        labels.write_bytes(content)
        with pytest.raises(DataUnavailable, match="train-labels-idx1-ubyte is not Fashion-MNIST's"):
            data.load("fashion-mnist")
    labels.write_bytes(b"not at all such a file")
    with pytest.raises(DataUnavailable, match="its header is not"):
        data.load("fashion-mnist")
    labels.unlink()
    labels.mkdir()
    with pytest.raises(DataUnavailable, match=r"cannot read .*train-labels-idx1-ubyte"):
        data.load("fashion-mnist")


def test_mnist_files_must_have_the_published_checksums(root):
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for file, content in tiny_parts().items():
        (folder / file).write_bytes(content)
    with pytest.raises(DataUnavailable, match="train-images-idx3-ubyte is damaged: its checksum"):
        data.load("mnist")


def test_unknown_data_sets_name_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'mnist'"):
        data.load("mnits")
    with pytest.raises(UnknownName, match="did you mean 'fashion-mnist'"):
        data.fetch("fashion_mnist")


def test_available_tells_what_is_whole(fashion):
    found = {info.name: info for info in data.available()}
    assert {name: info.present for name, info in found.items()} == {
        "digits": True,
        "mnist": False,
        "fashion-mnist": True,
        "cifar-10": False,
        "cifar-100": False,
        "cifar-10-jpeg": False,
        "clothing1m": False,
        "animal-10n": False,
        **{f"cifar-10n-{kind}": False for kind in ("aggregate", "random1", "random2", "random3", "worst")},
        "cifar-100n": False,
    }
    assert found["cifar-10-jpeg"].title == "CIFAR-10 (JPEG copy)"
    assert found["mnist"].how == "lnlib data fetch mnist" and "MNIST" in found["mnist"].where
    (fashion / FILES[0]).write_bytes(b"")
    assert not {info.name: info for info in data.available()}["fashion-mnist"].present


def test_data_root_is_the_variable_or_the_users_cache(monkeypatch):
    monkeypatch.setenv("LNLIB_DATA", "~/somewhere")
    assert data.data_root() == Path.home() / "somewhere"
    monkeypatch.delenv("LNLIB_DATA")
    assert data.data_root().name == "lnlib"


def failing(error):
    def download(*args, **kwargs):
        raise error

    return download


@pytest.mark.parametrize(
    ("error", "cause", "remedy"),
    [
        (URLError("Name or service not known"), "Name or service not known", "once there is a network"),
        (ConnectionResetError(errno.ECONNRESET, "reset by peer"), "reset by peer", "once there is a network"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device", "free 150 MB"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied", "set LNLIB_DATA"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system", "set LNLIB_DATA"),
        (
            RuntimeError("File not found or corrupted."),
            "File not found or corrupted",
            "once there is a network",
        ),
    ],
)
def test_a_download_that_fails_says_why_in_one_line_and_leaves_files_whole(
    fashion, monkeypatch, error, cause, remedy
):
    (fashion / FILES[3]).write_bytes(b"cut short")
    before = {path.name: path.read_bytes() for path in fashion.iterdir()}
    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", failing(error))
    with pytest.raises(DataUnavailable) as caught:
        data.fetch("fashion-mnist")
    message = one_line(caught)
    assert cause in message and remedy in message and str(fashion) in message
    assert {path.name: path.read_bytes() for path in fashion.iterdir()} == before


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch, below):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LNLIB_DATA", str(tmp_path / "file" / below))
    with pytest.raises(DataUnavailable, match="set LNLIB_DATA to a folder that you may write to") as caught:
        data.fetch("mnist")
    assert str(tmp_path / "file") in one_line(caught)
    with pytest.raises(DataUnavailable, match=r"cannot read|there is no"):
        data.load("mnist")


@pytest.fixture
def archives(monkeypatch) -> dict[str, bytes]:
    """The archives of a tiny Fashion-MNIST, whose checksums torchvision is made to expect."""
    packed = {f"{file}.gz": gzip.compress(content) for file, content in tiny_parts().items()}
    sums = [(name, hashlib.md5(packed[name], usedforsecurity=False).hexdigest()) for name in packed]
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", sums)
    return packed


def test_fetch_puts_the_downloaded_files_in_place_of_damaged_ones(fashion, archives, monkeypatch):
    def download(url, filename):
        Path(filename).write_bytes(archives[Path(url).name])

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", lambda url, **_: url)
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", download)
    (fashion / FILES[0]).write_bytes(b"cut short")
    data.fetch("fashion-mnist")
    assert {path.name: path.read_bytes() for path in fashion.iterdir()} == tiny_parts()
    monkeypatch.setattr(
        torchvision.datasets.utils, "_urlretrieve", failing(AssertionError("downloads again"))
    )
    data.fetch("fashion-mnist")
    data.fetch("digits")


def test_fetch_uses_archives_laid_out_by_hand(root, archives):
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in archives.items():
        (folder / name).write_bytes(content)
    data.fetch("fashion-mnist")
    assert len(data.load("fashion-mnist").train_images) == 30


def dataset(**changes) -> data.Dataset:
    parts = {
        "name": "mine",
        "train_images": torch.zeros(4, 1, 2, 2, dtype=torch.uint8),
        "train_labels": torch.tensor([0, 1, 0, 1]),
        "test_images": torch.zeros(2, 1, 2, 2, dtype=torch.uint8),
        "test_labels": torch.tensor([0, 1]),
        "class_names": ("a", "b"),
        "mean": (0.5,),
        "std": (0.5,),
    }
    return data.Dataset(**(parts | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a",)}, "at least 2 classes, got 1"),
        ({"train_images": torch.zeros(4, 1, 2, 2)}, "must be uint8"),
        (
            {"test_images": torch.zeros(2, 1, 2, 3, dtype=torch.uint8)},
            r"test images .* got torch.uint8 \(2, 1, 2, 3\)",
        ),
        ({"train_images": torch.zeros(4, 4, dtype=torch.uint8)}, r"must be uint8 \(N, C, H, W\)"),
        ({"train_labels": torch.tensor([0, 1, 0])}, r"must be int64 \(4,\)"),
        ({"test_labels": torch.tensor([0.0, 1.0])}, "must be int64"),
        ({"test_labels": torch.tensor([0, 2])}, "must lie in 0 to 1, got 0 to 2"),
        ({"train_labels": torch.tensor([0, 1, -1, 1])}, "got -1 to 1"),
        ({"mean": (0.5, 0.5)}, "for each of 1 channels"),
        ({"train_files": ("a.png",)}, "a file for each of 4 training images, got 1"),
        ({"num_clean": 4}, "num_clean must lie in 1 to 3, got 4"),
        ({"num_clean": 0}, "num_clean must be at least 1, got 0; use None for a data set with true labels"),
        ({"std": (0.0,)}, r"std must be .*positive number, got \(0.0,\); compute it"),
        ({"given_labels": torch.tensor([0, 1, 0])}, r"given training labels .* must be int64 \(4,\)"),
        ({"given_labels": torch.tensor([0, 1, 0, 2])}, "given training labels .* in 0 to 1, got 0 to 2"),
        ({"given_labels": torch.tensor([0, 1, 0, 1]), "num_clean": 1}, "num_clean or given_labels, got both"),
    ],
)
def test_a_data_set_that_does_not_fit_together_is_refused(changes, message):
    dataset()
    with pytest.raises(InvalidValue, match=message):
        dataset(**changes)


def paint(path: Path, value, mode: str = "L", size: tuple[int, int] = (12, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Ten grey pictures of a dark and of a light class, of many sizes."""
    folder = tmp_path / "mine"
    for number in range(10):
        paint(folder / "dark" / f"{number}.png", 10 + number, size=(10 + number, 12))
        paint(folder / "light" / f"{number}.png", 200 + number, size=(40, 30 + number))
    return folder


def test_a_folder_of_pictures_becomes_a_data_set(pictures):
    (pictures / ".ipynb_checkpoints").mkdir()
    (pictures / "dark" / "._0.png").write_bytes(b"what macOS leaves behind")
    (pictures / "dark" / "notes.txt").write_text("no picture")
    mine = data.image_folder(pictures, size=8)
    assert mine.name == "mine" and mine.class_names == ("dark", "light")
    assert mine.image_shape == (1, 8, 8) and mine.train_images.dtype == torch.uint8
    assert (len(mine.train_images), len(mine.test_images)) == (16, 4)
    assert torch.bincount(mine.test_labels).tolist() == [2, 2]
    levels = torch.cat([mine.train_images, mine.test_images])[:, 0, 0, 0]
    assert sorted(levels.tolist()) == [*range(10, 20), *range(200, 210)]
    assert torch.equal(mine.train_labels, (mine.train_images[:, 0, 0, 0] >= 200).long())
    assert torch.equal(mine.test_images, data.image_folder(pictures, size=8).test_images)
    others = [data.image_folder(pictures, size=8, seed=seed).test_images for seed in range(1, 5)]
    assert any(not torch.equal(mine.test_images, other) for other in others)
    assert float(mine.normalize(mine.train_images).mean()) == pytest.approx(0, abs=1e-5)
    for file, picture in zip(mine.train_files, mine.train_images, strict=True):
        assert np.array(Image.open(pictures / file))[0, 0] == picture[0, 0, 0]


def test_one_colour_picture_makes_all_of_them_colour(pictures):
    paint(pictures / "light" / "red.png", (250, 0, 30), mode="RGB")
    mine = data.image_folder(pictures, size=6)
    assert mine.image_shape == (3, 6, 6) and len(mine.mean) == 3
    everything = torch.cat([mine.train_images, mine.test_images])[:, :, 2, 2].tolist()
    assert [250, 0, 30] in everything and [10, 10, 10] in everything


def test_pictures_are_turned_upright(tmp_path):
    for number in range(4):
        paint(tmp_path / "a" / f"{number}.png", number)
        half = Image.new("L", (8, 8), number)
        half.paste(255, (0, 0, 8, 4))
        exif = Image.Exif()
        exif[0x0112] = 3  # the camera was upside down
        (tmp_path / "b").mkdir(exist_ok=True)
        half.save(tmp_path / "b" / f"{number}.png", exif=exif)
    mine = data.image_folder(tmp_path, size=8, test_fraction=0.25)
    upside_down = mine.test_images[mine.test_labels == 1][0, 0]
    assert upside_down[0].max() <= 3 and upside_down[-1].min() == 255


def test_pictures_are_cropped_in_their_centre_not_stretched(tmp_path):
    for number in range(4):
        wide = Image.new("L", (40, 10), number)
        wide.paste(255, (15, 0, 25, 10))
        tall = Image.new("L", (10, 30), number)
        tall.paste(250, (0, 10, 10, 20))
        for name, picture in (("tall", tall), ("wide", wide)):
            (tmp_path / name).mkdir(exist_ok=True)
            picture.save(tmp_path / name / f"{number}.png")
    mine = data.image_folder(tmp_path, size=10, test_fraction=0.25)
    assert mine.train_images.amin((1, 2, 3)).tolist() == [250] * 3 + [255] * 3


def test_progress_counts_the_pictures(pictures):
    seen = []
    data.image_folder(pictures, size=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 20) for done in range(1, 21)]
    seen.clear()
    data.load(f"folder:{pictures}", lambda done, total: seen.append(total))
    assert seen == [20] * 20


def test_train_and_test_folders_are_kept(tmp_path):
    for number in range(6):
        paint(tmp_path / "train" / ("cat" if number % 2 else "dog") / f"{number}.png", number)
    for number in range(2):
        paint(tmp_path / "test" / ("cat" if number % 2 else "dog") / f"{number}.jpg", 100)
    mine = data.image_folder(tmp_path, size=4)
    assert (len(mine.train_images), len(mine.test_images)) == (6, 2)
    assert mine.train_images.max() < 10 and mine.test_images.min() > 90
    assert mine.class_names == ("cat", "dog")
    assert mine.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    (tmp_path / "test" / "bird").mkdir()
    with pytest.raises(InvalidValue, match="must hold the same classes, but only one of them has bird"):
        data.image_folder(tmp_path)


def test_bad_folders_are_refused(pictures, tmp_path):
    with pytest.raises(DataUnavailable, match=r"there is no folder .*nowhere"):
        data.image_folder(tmp_path / "nowhere")
    with pytest.raises(InvalidValue, match="at least 2 folders, one per class, got 1"):
        data.image_folder(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "bare" / name).mkdir(parents=True)
    with pytest.raises(InvalidValue, match=r"there is no picture under .*bare; put some"):
        data.image_folder(tmp_path / "bare")
    with pytest.raises(InvalidValue, match="size must be at least 1, got 0; try size=28"):
        data.image_folder(pictures, size=0)
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(InvalidValue, match="test_fraction must lie in"):
            data.image_folder(pictures, test_fraction=share)
    with pytest.raises(InvalidValue, match=r"at least 2 folders, one per class, got 1 \(dark\)"):
        paint(tmp_path / "single" / "dark" / "1.png", 1)
        data.image_folder(tmp_path / "single")
    (pictures / "empty").mkdir()
    for count in range(3):
        with pytest.raises(
            InvalidValue, match=rf"at least 3 different pictures .*, empty has {count}; add pict"
        ):
            data.image_folder(pictures)
        paint(pictures / "empty" / f"{count}.png", count)
    task = make_task(data.image_folder(pictures), np.eye(3))
    assert [split.labels.tolist().count(1) for split in task.splits.values()] == [1, 1, 1]


def test_pictures_that_cannot_be_read_are_counted_and_named(pictures):
    whole = (pictures / "dark" / "3.png").read_bytes()
    (pictures / "dark" / "3.png").write_bytes(whole[:40])
    (pictures / "light" / "0.png").write_text("no picture")
    Image.fromarray(np.full((5, 5), 40_000, dtype=np.uint16)).save(pictures / "light" / "deep.png")
    with pytest.raises(DataUnavailable, match=r"3 of 21 pictures .* the first is .*3\.png") as caught:
        data.image_folder(pictures)
    assert "repair or remove them" in one_line(caught)


@pytest.mark.parametrize("counts", [[50, 50], [500, 37, 3], [1, 9], [0, 4, 6]])
def test_every_stretch_of_a_stratified_order_holds_the_classes_in_their_shares(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    order = stratified_order(labels, np.random.default_rng(1))
    assert sorted(order) == list(range(len(labels)))
    one_hot = labels[order][:, None] == np.arange(len(counts))
    drift = one_hot.cumsum(axis=0) - np.arange(1, len(labels) + 1)[:, None] * np.array(counts) / len(labels)
    assert np.abs(drift).max() <= len(counts) / 2 + 1e-9
    assert not np.array_equal(order, stratified_order(labels, np.random.default_rng(2)))

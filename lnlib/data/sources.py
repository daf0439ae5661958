"""Where the images come from: scikit-learn's bundled digits, MNIST and Fashion-MNIST, one's own folders.

A data set is held whole in memory as uint8. Downloads lie in `data_root()`, unpacked as torchvision lays them
out.
"""

import errno
import hashlib
import math
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from lnlib.errors import DataUnavailable, InvalidValue, unknown_name
from lnlib.seeding import stream

FOLDER = "folder:"
"""What stands before a path where a data set's name is asked for."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, true labels and a clean test set, on the CPU.

    Images are uint8 (N, C, H, W) and labels int64 (N,) from 0 to K-1; `mean` and `std` are per channel, of
    pixels scaled to [0, 1]. Raises `InvalidValue` when these do not fit together.
    """

    name: str
    train_images: Tensor = field(repr=False)
    train_labels: Tensor = field(repr=False)
    test_images: Tensor = field(repr=False)
    test_labels: Tensor = field(repr=False)
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise InvalidValue(
                f"{self.name} must have at least 2 classes, got {self.num_classes}; add another"
            )
        for part, images, labels in (
            ("training", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        ):
            if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != self.image_shape:
                raise InvalidValue(
                    f"{part} images of {self.name} must be uint8 (N, C, H, W) like the training images, "
                    f"got {images.dtype} {tuple(images.shape)}; convert them"
                )
            if labels.dtype != torch.int64 or labels.shape != images.shape[:1] or not len(labels):
                raise InvalidValue(
                    f"{part} labels of {self.name} must be int64 ({len(images)},), one per image, "
                    f"got {labels.dtype} {tuple(labels.shape)}; convert them"
                )
            if labels.min() < 0 or labels.max() >= self.num_classes:
                raise InvalidValue(
                    f"{part} labels of {self.name} must lie in 0 to {self.num_classes - 1}, "
                    f"got {labels.min()} to {labels.max()}; name every class in class_names"
                )
        channels = self.image_shape[0]
        if len(self.mean) != channels or len(self.std) != channels or not all(std > 0 for std in self.std):
            raise InvalidValue(
                f"{self.name} needs a mean and a positive std for each of {channels} channels, "
                f"got {self.mean} and {self.std}; compute them from the training images"
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def normalize(
        self, images: UInt8[Tensor, "*batch channels height width"]
    ) -> Float32[Tensor, "*batch channels height width"]:
        """Pixels (..., C, H, W) as a network takes them: in [0, 1], less the mean, divided by the std."""
        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.std, device=images.device)[:, None, None]
        return images.to(torch.float32).div_(255).sub_(mean).div_(std)


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that `load` knows: is it `present`, `where` does it lie or would it, and `how` to get it."""

    name: str
    title: str
    present: bool
    where: str
    size: str
    how: str


def load(name: str) -> Dataset:
    """The data set called "digits", "mnist" or "fashion-mnist", or "folder:PATH" for `image_folder(PATH)`.

    Downloads nothing. Raises `UnknownName` for another name, and `DataUnavailable` when files are missing,
    cut short or damaged.
    """
    if name.startswith(FOLDER):
        return image_folder(name.removeprefix(FOLDER))
    wanted = _named(name)
    if isinstance(wanted, DatasetInfo):
        return _digits()
    try:
        train_images, train_labels, test_images, test_labels = (
            torch.from_numpy(part) for part in _read(wanted)
        )
    except DataUnavailable as fault:
        raise DataUnavailable(
            f"{fault}; run `{wanted.command}`, or where there is no network {_by_hand(wanted)}; "
            f"or set LNLIB_DATA to the folder that holds {wanted.torchvision_name}/raw"
        ) from fault
    return Dataset(
        wanted.name,
        train_images[:, None],
        train_labels.long(),
        test_images[:, None],
        test_labels.long(),
        wanted.class_names,
        # LIMIT's experiments scale MNIST with these, not with its own statistics (.1307, .3081).
        mean=(0.456,),
        std=(0.224,),
    )


def available() -> list[DatasetInfo]:
    """The data sets that `load` knows, the bundled one first; reads the files to see that they are whole."""
    return [
        _DIGITS,
        *(
            DatasetInfo(one.name, one.title, _is_whole(one), str(one.folder), one.size, one.command)
            for one in _DOWNLOADS
        ),
    ]


def fetch(name: str) -> None:
    """Download a data set into `data_root()` with torchvision, which knows its mirrors and checksums.

    Does nothing where the data set is already whole. Archives that lie in its folder are used before the
    network. Files are moved into place only when all of them are whole. Raises `UnknownName` for another
    name, and `DataUnavailable` when the network, the space or the permission is missing.
    """
    wanted = _named(name)
    if isinstance(wanted, DatasetInfo) or _is_whole(wanted):
        return
    try:
        wanted.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=wanted.folder, prefix="fetch-") as scratch:
            raw = Path(scratch, wanted.torchvision_name, "raw")
            raw.mkdir(parents=True)
            for archive in wanted.folder.glob("*.gz"):
                shutil.copyfile(archive, raw / archive.name)
            wanted.torchvision_class()(scratch, train=False, download=True)
            _read(wanted, raw)
            for file in _FILES:
                os.replace(raw / file, wanted.folder / file)
    except (OSError, RuntimeError, HTTPException) as error:
        raise DataUnavailable(
            f"cannot fetch {wanted.title} into {wanted.folder}: {_cause(error)}; {_remedy(error, wanted)}"
        ) from error


def data_root() -> Path:
    """The folder of downloaded data: `LNLIB_DATA`, or the user's cache folder."""
    chosen = os.environ.get("LNLIB_DATA")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("lnlib", appauthor=False)


def image_folder(
    path: str | os.PathLike[str], size: int = 28, test_fraction: float = 0.2, seed: int = 0
) -> Dataset:
    """The reader's own pictures: path/CLASS/*, or path/train/CLASS/* and path/test/CLASS/*.

    In the first layout a stratified share `test_fraction` becomes the test set. Pictures are turned upright
    and stretched to size × size pixels, in colour unless all of them are grey. Raises `DataUnavailable` for a
    missing folder or pictures that cannot be read, `InvalidValue` for too few classes or pictures, a bad size
    or share.
    """
    root = Path(path).expanduser()
    if size < 1:
        raise InvalidValue(f"size must be at least 1 pixel, got {size}; 28 is MNIST's")
    if not 0 < test_fraction < 1:
        raise InvalidValue(f"test_fraction must lie in (0, 1), got {test_fraction}; try 0.2")
    if not root.is_dir():
        raise DataUnavailable(f"there is no folder {root}; give the folder that holds one folder per class")
    if (root / "train").is_dir() and (root / "test").is_dir():
        class_names = _class_folders(root / "train")
        if odd := set(class_names) ^ set(_class_folders(root / "test")):
            raise InvalidValue(
                f"train and test of {root} must hold the same classes, but only one of them has "
                f"{', '.join(sorted(odd))}; add or remove these folders"
            )
        train_files, train_labels = _pictures(root / "train", class_names)
        test_files, test_labels = _pictures(root / "test", class_names)
        files, labels = train_files + test_files, np.concatenate([train_labels, test_labels])
        train, test = np.split(np.arange(len(files)), [len(train_files)])
    else:
        class_names = _class_folders(root)
        files, labels = _pictures(root, class_names)
        order = stratified_order(labels, stream(seed, "image folder test"))
        num_test = round(test_fraction * len(files))
        train, test = np.sort(order[num_test:]), np.sort(order[:num_test])
    check_every_class("training", labels[train], class_names, "add pictures or remove the folder")
    check_every_class("test", labels[test], class_names, "add pictures or remove the folder")
    return _with_statistics(root.name, _decode(root, files, size), labels, train, test, class_names)


def stratified_order(labels: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """A random order of the rows, every stretch of which holds the classes in their shares, give or take one.

    Labels (N,) to rows (N,). So cuts of the order are disjoint and stratified, and a shorter cut is part of a
    longer.
    """
    by_class = generator.permutation(len(labels))
    by_class = by_class[np.argsort(labels[by_class], kind="stable")]
    place = np.concatenate([(np.arange(count) + 0.5) / max(count, 1) for count in np.bincount(labels)])
    # Classes of one size have equal places; these come in random order.
    return by_class[np.lexsort((generator.random(len(labels)), place))]


def check_every_class(
    part: str, labels: NDArray[np.int64], class_names: tuple[str, ...], remedy: str
) -> None:
    """Raise `InvalidValue` where a part of the data has no example of some class."""
    counts = np.bincount(labels, minlength=len(class_names))
    if missing := [class_names[label] for label in np.flatnonzero(counts == 0)]:
        raise InvalidValue(
            f"the {part} set needs an image of every class, its {len(labels)} have none of "
            f"{', '.join(missing)}; {remedy}"
        )


@dataclass(frozen=True)
class _Download:
    """A data set in MNIST's file format. The checksums (MD5) are of the unpacked files, where they are known:
    torchvision checks the archives, but files may be laid out by hand."""

    name: str
    title: str
    torchvision_name: str
    class_names: tuple[str, ...]
    checksums: tuple[str | None, ...]
    size: str

    @property
    def folder(self) -> Path:
        return data_root() / self.torchvision_name / "raw"

    @property
    def command(self) -> str:
        return f"lnlib data fetch {self.name}"

    def torchvision_class(self) -> Any:
        import torchvision.datasets  # takes seconds, and reading the files needs none of it

        return getattr(torchvision.datasets, self.torchvision_name)


_DIGITS = DatasetInfo(
    name="digits",
    title="scikit-learn's digits",
    present=True,
    where="scikit-learn",
    size="1 797 images of 8×8",
    how="comes with scikit-learn",
)
_DOWNLOADS = (
    _Download(
        name="mnist",
        title="MNIST",
        torchvision_name="MNIST",
        class_names=tuple("0123456789"),
        checksums=(
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        size="70 000 images of 28×28, 12 MB to download, 55 MB on disk",
    ),
    _Download(
        name="fashion-mnist",
        title="Fashion-MNIST",
        torchvision_name="FashionMNIST",
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        checksums=(None,) * 4,
        size="70 000 images of 28×28, 31 MB to download, 55 MB on disk",
    ),
)
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _named(name: str) -> DatasetInfo | _Download:
    known = {one.name: one for one in (_DIGITS, *_DOWNLOADS)}
    if name not in known:
        raise unknown_name("data set", name, known)
    return known[name]


def _digits() -> Dataset:
    from sklearn.datasets import load_digits  # takes a second, and other data sets do without

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    order = stratified_order(labels, stream(0, "digits test"))
    return _with_statistics(
        "digits", pixels, labels, np.sort(order[297:]), np.sort(order[:297]), tuple("0123456789")
    )


def _with_statistics(
    name: str,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    class_names: tuple[str, ...],
) -> Dataset:
    """A data set whose rows `train` and `test` are told, with the mean and std of its own training images."""
    histograms = [np.bincount(channel.ravel(), minlength=256) for channel in pixels[train].swapaxes(0, 1)]
    levels = np.arange(256) / 255
    means = [float(np.average(levels, weights=counts)) for counts in histograms]
    variances = [
        float(np.average((levels - mean) ** 2, weights=counts))
        for mean, counts in zip(means, histograms, strict=True)
    ]
    return Dataset(
        name,
        torch.from_numpy(pixels[train]),
        torch.from_numpy(labels[train]),
        torch.from_numpy(pixels[test]),
        torch.from_numpy(labels[test]),
        class_names,
        tuple(means),
        tuple(variance**0.5 for variance in variances),
    )


def _is_whole(wanted: _Download) -> bool:
    try:
        _read(wanted)
    except DataUnavailable:
        return False
    return True


def _read(wanted: _Download, folder: Path | None = None) -> list[NDArray[np.uint8]]:
    """Images (N, 28, 28) and labels of the training and the test part; an error names the faulty file."""
    paths = [(folder or wanted.folder) / file for file in _FILES]
    parts = [_read_idx(path, md5) for path, md5 in zip(paths, wanted.checksums, strict=True)]
    for images, labels, path in zip(parts[::2], parts[1::2], paths[1::2], strict=True):
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
            raise DataUnavailable(
                f"{path} is not {wanted.title}'s: its labels do not fit the images beside it"
            )
    return parts


def _read_idx(path: Path, md5: str | None) -> NDArray[np.uint8]:
    """A file in MNIST's format: bytes 0, 0, 8 and the number of sizes, sizes as big-endian int32, data."""
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except FileNotFoundError as error:
        raise DataUnavailable(f"there is no {path}") from error
    except OSError as error:
        raise DataUnavailable(f"cannot read {path}: {_cause(error)}") from error
    start = 4 + 4 * int(content[3]) if len(content) > 3 else 4
    shape = content[4:start].view(">i4").tolist() if len(content) >= start else []
    if content[:3].tolist() != [0, 0, 8] or not shape:
        raise DataUnavailable(f"{path} is cut short or damaged: its header is not that of images or labels")
    if len(content) != (announced := start + math.prod(shape)):
        raise DataUnavailable(
            f"{path} is cut short or damaged: its header announces {announced} bytes, it has {len(content)}"
        )
    if md5 and hashlib.md5(content.data, usedforsecurity=False).hexdigest() != md5:
        raise DataUnavailable(f"{path} is damaged: its checksum is not the published one")
    return content[start:].reshape(shape)


def _by_hand(wanted: _Download) -> str:
    archives = ", ".join(f"{file}.gz" for file in _FILES)
    mirror = wanted.torchvision_class().mirrors[0]
    return f"put {archives} from {mirror} into {wanted.folder} first"


def _cause(error: Exception) -> str:
    """The last line of what went wrong: torchvision lists one line for each mirror it tried."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().splitlines()[-1].strip("<>")


def _remedy(error: Exception, wanted: _Download) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "free 150 MB there, or set LNLIB_DATA to a folder with more space"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return "set LNLIB_DATA to a folder that you may write to"
    return f"run `{wanted.command}` again once there is a network, or {_by_hand(wanted)}"


def _class_folders(root: Path) -> tuple[str, ...]:
    # Editors and notebooks leave hidden folders behind.
    names = sorted(
        entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    if len(names) < 2:
        raise InvalidValue(
            f"{root} must hold at least 2 folders, one per class, got {len(names)}; add folders"
        )
    return tuple(names)


def _pictures(root: Path, class_names: tuple[str, ...]) -> tuple[list[Path], NDArray[np.int64]]:
    """The picture files below the class folders, by torchvision's rule, and their labels."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    classes = {name: label for label, name in enumerate(class_names)}
    found = make_dataset(str(root), classes, extensions=IMG_EXTENSIONS, allow_empty=True)
    visible = [(Path(file), label) for file, label in found if not Path(file).name.startswith(".")]
    if not visible:
        raise InvalidValue(f"there is no picture under {root}; put some into each of its class folders")
    return [file for file, _ in visible], np.array([label for _, label in visible], dtype=np.int64)


def _decode(root: Path, files: list[Path], size: int) -> NDArray[np.uint8]:
    """Pictures (N, C, size, size), C being 1 where all of them are grey and 3 elsewhere."""
    pictures, faults = [], []
    for file in files:
        try:
            pictures.append(_picture(file, size))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            faults.append(f"{file} ({_cause(error)})")
    if faults:
        raise DataUnavailable(
            f"{len(faults)} of {len(files)} pictures under {root} cannot be read, the first is {faults[0]}; "
            "repair or remove them"
        )
    channels = max(len(picture) for picture in pictures)
    return np.stack([np.broadcast_to(picture, (channels, size, size)) for picture in pictures])


def _picture(file: Path, size: int) -> NDArray[np.uint8]:
    with Image.open(file) as opened:
        if opened.mode.startswith(("I", "F")):
            raise ValueError("it has more than 8 bits per channel; save it with 8")
        upright = ImageOps.exif_transpose(opened)
        colour = upright.convert("L" if upright.mode in ("1", "L") else "RGB")
        pixels = np.asarray(colour.resize((size, size), Image.Resampling.BILINEAR))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

"""The data sets by name: where they lie, how to get them, and how they are read.

Downloads lie in `data_root()`, unpacked as torchvision lays them out.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from lnlib.checks import checked
from lnlib.data import animal10n, idx
from lnlib.data import own_files as own
from lnlib.data.cifar import JPEG_TITLE, old_pickles, read_cifar, read_cifar_jpeg
from lnlib.data.clothing1m import has_lists, read_clothing1m
from lnlib.data.dataset import Dataset, DatasetInfo, data_root, stratified_order, with_statistics
from lnlib.data.decoding import OnPicture
from lnlib.data.human import with_human_labels
from lnlib.errors import DataUnavailable, cause_of, unknown_name
from lnlib.seeding import stream

DataName = Annotated[str, "try 'digits', or 'folder:' and a path"]


@checked
def load(name: DataName, progress: OnPicture | None = None, **options: Any) -> Dataset:
    """The data set of a name that `available` lists, "folder:PATH" for `image_folder(PATH)`, or "csv:FILE"
    for `image_table(FILE)`; `options` are those of these two.

    Downloads nothing. `progress(done, total)` is called while pictures are decoded or counted. Raises
    `UnknownName` for another name or option, and `DataUnavailable` when files are missing, cut short or
    damaged.
    """
    read = own.read_options(name, options)
    if source := own.source_of(name):
        reader, path = source
        return reader(path, progress=progress, **read)
    wanted = _named(name)
    if isinstance(wanted, _Bundled):
        return _digits()
    try:
        return wanted.read(progress)
    except DataUnavailable as fault:
        raise DataUnavailable(
            f"{fault}; {wanted.remedy}; or set LNLIB_DATA to the folder that holds {wanted.below}"
        ) from fault


def available() -> list[DatasetInfo]:
    """The data sets that `load` knows, the bundled first; reads what was downloaded to see it is whole."""
    return [one.info for one in _KNOWN]


@checked
def fetch(name: DataName) -> None:
    """Download a data set into `data_root()` with torchvision, which knows its mirrors and checksums.

    Does nothing where the data set is already there. Archives that lie in its folder are used before the
    network. Files are moved into place only when all of them are whole. Raises `UnknownName` for another
    name, and `DataUnavailable` when the network, the space or the permission is missing, or where a data set
    has to be laid out by hand.
    """
    wanted = _named(name)
    if wanted.info.present:
        return
    if not isinstance(wanted, _Download):
        raise DataUnavailable(f"{wanted.info.title} cannot be fetched; {wanted.info.how}")
    try:
        wanted.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=wanted.folder, prefix="fetch-") as scratch:
            begun = Path(scratch, wanted.archives_below)
            begun.mkdir(parents=True, exist_ok=True)
            for archive in wanted.folder.glob("*.gz"):
                shutil.copyfile(archive, begun / archive.name)
            with old_pickles():
                wanted.torchvision_class()(scratch, train=False, download=True)
            wanted.read_from(Path(scratch, wanted.below))
            for file in wanted.files:
                os.replace(Path(scratch, wanted.below, file), wanted.folder / file)
    except (OSError, RuntimeError, HTTPException) as error:
        raise DataUnavailable(
            f"cannot fetch {wanted.title} into {wanted.folder}: {cause_of(error)}; {_remedy(error, wanted)}"
        ) from error


@dataclass(frozen=True)
class _Bundled:
    """scikit-learn's digits."""

    name: str = "digits"

    @property
    def info(self) -> DatasetInfo:
        about = (
            "scikit-learn's digits",
            True,
            "scikit-learn",
            "1 797 images of 8×8",
            "comes with scikit-learn",
        )
        return DatasetInfo(self.name, *about)


@dataclass(frozen=True)
class _Download:
    """What torchvision downloads: `files` lie `below` the root, archives to unpack in `archives_below`."""

    name: str
    title: str
    size: str
    space: str
    torchvision_name: str
    below: str
    files: tuple[str, ...]
    archives_below: str
    reader: Callable[["_Download", Path], Dataset]
    by_hand: Callable[[Any], str]
    """torchvision's class → which archives, and where from"""

    @property
    def folder(self) -> Path:
        return data_root() / self.below

    @property
    def command(self) -> str:
        return f"lnlib data fetch {self.name}"

    @property
    def laid_out_by_hand(self) -> str:
        return f"put {self.by_hand(self.torchvision_class())} into {self.folder} first"

    @property
    def remedy(self) -> str:
        return f"run `{self.command}`, or where there is no network {self.laid_out_by_hand}"

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo(self.name, self.title, self._is_whole(), str(self.folder), self.size, self.command)

    def torchvision_class(self) -> Any:
        import torchvision.datasets  # takes seconds, and reading MNIST's files needs none of it

        return getattr(torchvision.datasets, self.torchvision_name)

    def read(self, progress: OnPicture | None) -> Dataset:
        return self.read_from(self.folder)

    def read_from(self, folder: Path) -> Dataset:
        if missing := [file for file in self.files if not (folder / file).exists()]:
            raise DataUnavailable(f"there is no {folder / missing[0]}")
        return self.reader(self, folder)

    def _is_whole(self) -> bool:
        try:
            self.read_from(self.folder)
        except DataUnavailable:
            return False
        return True


@dataclass(frozen=True)
class _LaidOut:
    """Files that the reader lays out `below` the root."""

    name: str
    title: str
    size: str
    below: str
    origin: str
    is_there: Callable[[Path], bool]
    reader: Callable[[Path, str, OnPicture | None], Dataset]

    @property
    def folder(self) -> Path:
        return data_root() / self.below

    @property
    def remedy(self) -> str:
        return f"{self.origin} into {self.folder}"

    @property
    def info(self) -> DatasetInfo:
        present = self.is_there(self.folder)
        return DatasetInfo(self.name, self.title, present, str(self.folder), self.size, self.remedy)

    def read(self, progress: OnPicture | None) -> Dataset:
        return self.reader(self.folder, self.name, progress)


def _idx(
    name: str, title: str, torchvision_name: str, class_names: tuple[str, ...], size: str, *md5: str
) -> _Download:
    return _Download(
        name=name,
        title=title,
        size=size,
        space="150 MB",
        torchvision_name=torchvision_name,
        below=f"{torchvision_name}/raw",
        files=idx.FILES,
        archives_below=f"{torchvision_name}/raw",
        reader=lambda self, folder: idx.read_idx_dataset(
            folder, self.name, self.title, class_names, md5 or (None,) * 4
        ),
        by_hand=lambda kind: f"{', '.join(f'{file}.gz' for file in idx.FILES)} from {kind.mirrors[0]}",
    )


def _cifar(name: str, title: str, torchvision_name: str, below: str, files: tuple[str, ...]) -> _Download:
    return _Download(
        name=name,
        title=title,
        size="60 000 images of 32×32 in colour, 170 MB to download, 185 MB on disk",
        space="700 MB",
        torchvision_name=torchvision_name,
        below=below,
        files=files,
        archives_below="",
        reader=lambda self, folder: read_cifar(folder, self.name, self.torchvision_class()),
        by_hand=lambda kind: f"{kind.filename} from {kind.url}",
    )


def _human(name: str, title: str, base: _Download, file: str, key: str, share: str) -> _LaidOut:
    """The labels `key` that people gave to a CIFAR's training images; about a `share` of them are wrong."""

    def is_there(folder: Path) -> bool:
        return (folder / file).is_file() and all((base.folder / part).is_file() for part in base.files)

    return _LaidOut(
        name=name,
        title=title,
        size=f"{base.title} with the labels of people, {share} of them wrong",
        below="cifar-n",
        origin=f"run `{base.command}` and put {file} from github.com/UCSC-REAL/cifar-10-100n",
        is_there=is_there,
        reader=lambda folder, name, progress: with_human_labels(
            base.read(progress), name, folder / file, key
        ),
    )


_CIFAR_10 = _cifar(
    "cifar-10",
    "CIFAR-10",
    "CIFAR10",
    "cifar-10-batches-py",
    (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
)
_CIFAR_100 = _cifar("cifar-100", "CIFAR-100", "CIFAR100", "cifar-100-python", ("train", "test", "meta"))

_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_KNOWN: tuple[_Bundled | _Download | _LaidOut, ...] = (
    _Bundled(),
    _idx(
        "mnist",
        "MNIST",
        "MNIST",
        tuple("0123456789"),
        "70 000 images of 28×28, 12 MB to download, 55 MB on disk",
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    _idx(
        "fashion-mnist",
        "Fashion-MNIST",
        "FashionMNIST",
        _CLOTHES,
        "70 000 images of 28×28, 31 MB to download, 55 MB on disk",
    ),
    _CIFAR_10,
    _CIFAR_100,
    _LaidOut(
        name="cifar-10-jpeg",
        title=JPEG_TITLE,
        size="60 000 images of 32×32 in colour, as JPEG files",
        below="cifar10-jpeg",
        origin="put the pictures as train/CLASS/*.jpg and test/CLASS/*.jpg",
        is_there=lambda folder: (folder / "train").is_dir() and (folder / "test").is_dir(),
        reader=read_cifar_jpeg,
    ),
    _LaidOut(
        name="clothing1m",
        title="Clothing1M",
        size="1 000 000 photographs with noisy labels, 24 000 with true ones",
        below="Clothing1M",
        origin="ask its authors (github.com/Cysu/noisy_label) for it and put the lists of keys, the lists of "
        "labels and images/0 to images/9",
        is_there=has_lists,
        reader=read_clothing1m,
    ),
    _LaidOut(
        name="animal-10n",
        title="ANIMAL-10N",
        size="50 000 photographs of 64×64 with noisy labels, 5 000 with true ones",
        below="ANIMAL-10N",
        origin="ask its authors (dm.kaist.ac.kr/datasets/animal-10n) for it and put the folders training and "
        "testing",
        is_there=animal10n.has_parts,
        reader=animal10n.read_animal10n,
    ),
    *(
        _human(f"cifar-10n-{kind}", f"CIFAR-10N ({kind})", _CIFAR_10, "CIFAR-10_human.pt", key, share)
        for kind, key, share in (
            ("aggregate", "aggre_label", "9%"),
            ("random1", "random_label1", "17%"),
            ("random2", "random_label2", "18%"),
            ("random3", "random_label3", "18%"),
            ("worst", "worse_label", "40%"),
        )
    ),
    _human("cifar-100n", "CIFAR-100N", _CIFAR_100, "CIFAR-100_human.pt", "noisy_label", "40%"),
)


def _named(name: str) -> _Bundled | _Download | _LaidOut:
    known = {one.name: one for one in _KNOWN}
    if name not in known:
        raise own.slip(name) or unknown_name("data set", name, known)
    return known[name]


def _digits() -> Dataset:
    from sklearn.datasets import load_digits  # takes a second, and other data sets do without

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    order = stratified_order(labels, stream(0, "digits test"))
    return with_statistics(
        "digits", pixels, labels, np.sort(order[297:]), np.sort(order[:297]), tuple("0123456789")
    )


def _remedy(error: Exception, wanted: _Download) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"free {wanted.space} there, or set LNLIB_DATA to a folder with more space"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return "set LNLIB_DATA to a folder that you may write to"
    return f"run `{wanted.command}` again once there is a network, or {wanted.laid_out_by_hand}"

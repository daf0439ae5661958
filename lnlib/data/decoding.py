"""From picture files to pixels: which formats, how transparency, turned and large pictures are read, and a
copy of the decoded pictures that spares doing it again.
"""

import contextlib
import hashlib
import io
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import IO

import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lnlib.errors import DataUnavailable, LnlibError, cause_of
from lnlib.files import whole_file

OnPicture = Callable[[int, int], None]
"""Called with the number done and the number in all while something is read that takes time."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "HEIF")
"""The formats that are read, whatever a file is called. Never EPS or PDF, for which Pillow starts other
programs."""
FAULTS = (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError)
"""What Pillow raises for files that are damaged or no pictures."""
KEPT_FROM = 10_000_000
"""Bytes of files from which a folder's decoded pictures are kept: fewer are decoded in a second or two."""
GOES, MOST_AT_ONCE = 8, 256
"""In how many goes each worker decodes few files, and the most files of a go."""
MANY = 5000
"""Files from which on starting processes pays."""


@cache
def formats() -> tuple[str, ...]:
    """Those of `FORMATS` that the installed Pillow reads, HEIF with pillow-heif."""
    with contextlib.suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def is_picture(file: Path) -> bool:
    """Whether a file begins as a picture does."""
    try:
        with quiet(), Image.open(file, formats=formats()):
            return True
    except FAULTS:
        return False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's warnings, which it gives for each picture: of tags that do not matter, of palettes,
    and of large pictures, which `opened` refuses.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def opened(file: Path | IO[bytes]) -> Image.Image:
    """A picture whose header is read; raises one of `FAULTS` for what is none and for one too large."""
    try:
        picture = Image.open(file, formats=formats())
    except UnidentifiedImageError as error:
        raise ValueError(f"it is none of {', '.join(formats())}; save it as PNG") from error
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    if Image.MAX_IMAGE_PIXELS and picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
        picture.close()
        raise _too_large()
    return picture


def _too_large() -> ValueError:
    return ValueError(f"it has more than {Image.MAX_IMAGE_PIXELS} pixels, Pillow's limit; shrink it")


def pixels_of(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    """A picture (1, size, size) if it is grey, else (3, size, size): turned upright, transparency laid on
    white, its short side scaled to `size`, its centre cut out.
    """
    if picture.mode.startswith(("I", "F")):
        raise ValueError("it has more than 8 bits per channel; save it with 8")
    ImageOps.exif_transpose(picture, in_place=True)
    grey, wanted = picture.mode in ("1", "L", "LA", "La"), picture
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        wanted = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    mode = "L" if grey else "RGB"
    plain = wanted if wanted.mode == mode else wanted.convert(mode)
    if plain.size != (size, size):
        plain = ImageOps.fit(plain, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(plain)
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pictures (N, C, size, size), C being 1 where all of them are grey; a digest of each file's bytes; and
    the rows that could not be read, with the reason. The pixels of these are black.
    """

    pixels: NDArray[np.uint8] = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)
    faults: dict[int, str]


def decode(files: Sequence[str], size: int, progress: OnPicture | None = None) -> Decoded:
    """Read all files, with as many workers as there are processors."""
    pixels = np.zeros((len(files), 3, size, size), dtype=np.uint8)
    digests, faults, coloured = list[str](), dict[int, str](), False
    number = os.cpu_count() or 1
    at_once = min(MOST_AT_ONCE, -(-len(files) // (GOES * number)))
    chunks = [files[first : first + at_once] for first in range(0, len(files), at_once or 1)]
    with quiet(), _workers(number, len(files)) as workers:
        try:
            for part in workers.map(partial(_decode_some, size), chunks):
                rows = range(len(digests), len(digests) + len(part.digests))
                pixels[rows.start : rows.stop] = part.pixels
                coloured = coloured or part.pixels.shape[1] == 3
                faults |= {rows[row]: cause for row, cause in part.faults.items()}
                digests += part.digests
                if progress:
                    for row in rows:
                        progress(row + 1, len(files))
        except BaseException as error:  # Ctrl-C, say: what has not begun need not
            workers.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, BrokenExecutor):
                raise LnlibError(
                    "a process that decodes pictures was killed, most often for lack of memory; free some"
                ) from error
            raise
    return Decoded(pixels if coloured else np.ascontiguousarray(pixels[:, :1]), tuple(digests), faults)


def _workers(number: int, files: int) -> Executor:
    """Threads, as Pillow decodes outside Python's lock; for very many files processes: what Python does
    between two small pictures takes longer than they. Only where a process can be forked, as others would
    import the caller's script anew.
    """
    if files < MANY or sys.platform != "linux":
        return ThreadPoolExecutor(number)
    return ProcessPoolExecutor(number, mp_context=get_context("fork"))


def _decode_some(size: int, files: Sequence[str]) -> Decoded:
    """What a worker does in one go."""
    pixels = np.zeros((len(files), 3, size, size), dtype=np.uint8)
    digests, faults, coloured = [""] * len(files), {}, False
    for row, file in enumerate(files):
        try:
            with open(file, "rb") as opened_file:
                content = opened_file.read()
            digests[row] = hashlib.sha256(content).hexdigest()
            with opened(io.BytesIO(content)) as picture:
                decoded = pixels_of(picture, size)
            pixels[row] = decoded
            coloured = coloured or len(decoded) == 3
        except FAULTS as error:
            faults[row] = cause_of(error)
    return Decoded(pixels if coloured else pixels[:, :1].copy(), tuple(digests), faults)


def decoded_once(
    place: Path, files: Sequence[str], size: int, progress: OnPicture | None = None, kept_from: int = 0
) -> Decoded:
    """`decode`, or what it gave for `place` before, from the user's cache folder, where the files' names,
    sizes and dates are as they were then. Of fewer than `kept_from` bytes of files no copy is made.
    """
    key = hashlib.sha256(os.fsencode(place.resolve())).hexdigest()[:16]
    cache = platformdirs.user_cache_path("lnlib", appauthor=False) / f"decoded-{key}.npz"
    total, listing = _listing(files, size)
    if total < kept_from:
        return decode(files, size, progress)
    try:
        with open(cache, "rb") as file, np.load(file, allow_pickle=False) as kept:
            if kept["listing"] == listing:
                digests, faults = json.loads(str(kept["facts"]))
                faults = {int(row): text for row, text in faults.items()}
                return Decoded(kept["pixels"], tuple(digests), faults)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there, or damaged: it is written again
    decoded = decode(files, size, progress)
    facts = json.dumps([decoded.digests, decoded.faults])
    try:
        with whole_file(cache) as new:
            np.savez(new, listing=np.array(listing), facts=np.array(facts), pixels=decoded.pixels)
    except LnlibError:
        pass  # the cache is a convenience
    return decoded


def colour_once(
    folder: Path, files: Sequence[str], side: int, progress: OnPicture | None = None
) -> NDArray[np.uint8]:
    """Published pictures in colour (N, 3, side, side), decoded once; raises `DataUnavailable` for damaged
    ones.
    """
    decoded = decoded_once(folder, files, side, progress)
    if decoded.faults:
        raise unreadable_pictures(folder, files, decoded.faults, "repair or remove them")
    return decoded.pixels if decoded.pixels.shape[1] == 3 else decoded.pixels.repeat(3, axis=1)


def _listing(files: Sequence[str], size: int) -> tuple[int, str]:
    """How many bytes the files have, and a hash of their names, sizes, dates and of how they are decoded."""
    total, digest = 0, hashlib.sha256(f"{size}|{formats()}\n".encode())
    for file in files:
        try:
            status = os.stat(file)
        except OSError:  # which `decode` will say
            digest.update(f"{file}|\n".encode(errors="surrogateescape"))
            continue
        total += status.st_size
        digest.update(f"{file}|{status.st_size}|{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return total, digest.hexdigest()


def unreadable_pictures(
    place: Path, files: Sequence[str], faults: dict[int, str], way_out: str
) -> DataUnavailable:
    """The error for pictures that cannot be read: how many, and which first."""
    row, cause = next(iter(faults.items()))
    return DataUnavailable(
        f"{len(faults)} of {len(files)} pictures under {place} cannot be read, the first is {files[row]} "
        f"({cause}); {way_out}"
    )

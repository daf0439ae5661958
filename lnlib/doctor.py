"""What `lnlib doctor` checks: each part of the environment that the course needs, and its remedy."""

import importlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lnlib.course.folder import files, install, is_clone, source
from lnlib.errors import LnlibError
from lnlib.files import expanded

REINSTALL = f"install the course into this environment: {install('lab')}"
WIDGET_PACKAGES = ("jupyterlab", "ipywidgets", "anywidget", "plotly", "ipykernel")
PLAYWRIGHT_BROWSERS = (
    "chromium-*/chrome-linux*/chrome",
    "chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
    "chromium-*/chrome-win*/chrome.exe",
)


@dataclass(frozen=True)
class Check:
    """One part of the environment; `required` parts fail the doctor, the others are told."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True

    @property
    def status(self) -> str:
        """ "OK", "FAIL", or "--" for a missing part that the course can do without."""
        return "OK" if self.ok else "FAIL" if self.required else "--"


def checks() -> Iterator[Check]:
    """Every check, one at a time as it is done; a part that raises is a failed check."""
    for name, (part, remedy) in PARTS.items():
        try:
            yield part(name)
        except LnlibError as error:
            yield Check(name, False, str(error), remedy)
        except Exception as error:  # a broken environment may raise anything, and telling of it is the point
            detail = " ".join(str(error).split())
            yield Check(name, False, f"{type(error).__name__}: {detail}", remedy)


def find_browser() -> str | None:
    """The Chrome or Chromium for PNG figures and browser tests; None where there is none.

    BROWSER_PATH comes first, then an installed one, then Playwright's own.
    """
    if chosen := os.environ.get("BROWSER_PATH"):
        return chosen if shutil.which(chosen) else None
    from choreographer.browsers.chromium import Chromium

    return Chromium.find_browser(skip_local=False) or _playwright_browser()


def _playwright_browser() -> str | None:
    caches = {"darwin": "~/Library/Caches", "win32": "~/AppData/Local"}
    default = f"{caches.get(sys.platform, '~/.cache')}/ms-playwright"
    folder = expanded(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or default)
    found = [path for pattern in PLAYWRIGHT_BROWSERS for path in sorted(folder.glob(pattern))]
    return str(found[-1]) if found else None


def _python(name: str) -> Check:
    detail = f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}"
    return Check(name, sys.version_info >= (3, 11), detail, "use Python 3.11 or newer")


def _torch(name: str) -> Check:
    import torch

    found = torch.__version__
    return Check(name, found >= "2.11", str(found), "torch 2.11 or newer; " + REINSTALL)


def _torchvision(name: str) -> Check:
    import torch
    import torchvision
    from torchvision.ops import nms

    nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    return Check(name, True, f"{torchvision.__version__}, works with torch {torch.__version__}")


def _cuda(name: str) -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check(name, True, "no CUDA device, the CPU is used")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check(name, True, ", ".join(names))


def _widgets(name: str) -> Check:
    missing = [package for package in WIDGET_PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        return Check(name, False, f"{', '.join(missing)} not found by {sys.executable}", REINSTALL)
    versions = {package: importlib.metadata.version(package) for package in WIDGET_PACKAGES}
    remedy = 'pip install -U "ipykernel!=7.0.0"; version 7.0.0 cannot update widgets from threads'
    detail = ", ".join(f"{package} {version}" for package, version in versions.items())
    return Check(name, versions["ipykernel"] != "7.0.0", detail, remedy)


def _kernel(name: str) -> Check:
    from jupyter_client.kernelspec import KernelSpecManager

    command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    # Jupyter puts its own interpreter in the place of these names.
    own = {"python", f"python{sys.version_info[0]}", f"python{sys.version_info[0]}.{sys.version_info[1]}"}
    interpreter = sys.executable if command in own else shutil.which(command) or command
    same = Path(interpreter).parent == Path(sys.executable).parent
    remedy = f"{sys.executable} -m ipykernel install --prefix {sys.prefix}"
    return Check(name, same, f"notebooks run with {interpreter}", remedy)


def _browser(name: str) -> Check:
    found = find_browser()
    detail = f"{found}, for PNG figures" if found else "no Chrome or Chromium for PNG figures"
    remedy = (
        "install Chrome or Chromium, or set BROWSER_PATH; without one, figures come as HTML and data only"
    )
    return Check(name, found is not None, detail, remedy, required=False)


def _lessons(name: str) -> Check:
    found = [one for one in files(source()) if one.endswith(".ipynb")]
    where = "of the clone" if is_clone() else "of the installed lnlib, which `lnlib lab` copies"
    return Check(name, True, f"{len(found)} notebooks {where}")


def _digits(name: str) -> Check:
    from lnlib import data

    dataset = data.load("digits")
    return Check(name, True, f"{len(dataset.train_labels) + len(dataset.test_labels)} images, bundled")


def _mnist(name: str) -> Check:
    from lnlib import data

    present = next(info.present for info in data.available() if info.name == "mnist")
    detail = "present" if present else "not here; the lessons run on digits"
    return Check(name, present, detail, "lnlib data fetch mnist", required=False)


def _data_folder(name: str) -> Check:
    from lnlib import data

    folder = data.data_root()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    remedy = "set LNLIB_DATA to a folder that you may write to"
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Check(name, True, str(folder))
    except OSError as error:
        return Check(name, False, f"cannot write to {existing}: {error.strerror}", remedy)


def _training(name: str) -> Check:
    import torch

    from lnlib.device import default_device, describe

    device = default_device()
    net = torch.nn.Linear(4, 2).to(device)
    optimizer = torch.optim.Adam(net.parameters())
    inputs, labels = torch.ones(8, 4, device=device), torch.zeros(8, dtype=torch.long, device=device)
    loss = torch.nn.functional.cross_entropy(net(inputs), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return Check(name, bool(loss.isfinite()), f"one step on {describe(device)}", "unset LNLIB_DEVICE")


PARTS: dict[str, tuple[Callable[[str], Check], str]] = {
    "Python": (_python, "use Python 3.11 or newer"),
    "torch": (_torch, REINSTALL),
    "torchvision": (
        _torchvision,
        "torch and torchvision must come from one place: pip uninstall torch torchvision, then " + REINSTALL,
    ),
    "CUDA": (_cuda, REINSTALL),
    "widgets": (_widgets, REINSTALL),
    "kernel": (_kernel, f"{sys.executable} -m ipykernel install --prefix {sys.prefix}"),
    "browser": (_browser, REINSTALL),
    "lessons": (_lessons, "install lnlib's wheel anew, or run this in a clone"),
    "digits": (_digits, REINSTALL),
    "mnist": (_mnist, "lnlib data fetch mnist"),
    "data folder": (_data_folder, "set LNLIB_DATA to a folder that you may write to"),
    "training": (_training, "set LNLIB_DEVICE=cpu"),
}
"""Each part's check, and the remedy for when it raises."""

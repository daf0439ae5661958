"""The wheel and the sdist as they are built, and environments that hold nothing of this clone.

What lnlib needs is not installed again, five gigabytes of it: such an environment has links to the packages
of the one that runs the tests, but for lnlib, and looks into them after its own.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN_FOLDERS = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "IPYTHONDIR",
)


def run(*command: str | Path, cwd: Path, fails: bool = False) -> str:
    """Run a command outside the clone; what it prints, all of it. It must end well unless it is to fail."""
    own = {name: str(cwd / ".home") for name in OWN_FOLDERS}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | own
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(source: Path, to: Path, *options: str) -> list[Path]:
    """Build sdist and wheel, the wheel from the sdist, unless options say otherwise; the files."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", to, *options, source, cwd=source)
    return sorted(to.iterdir())


def environment(folder: Path, without: tuple[str, ...] = ()) -> Path:
    """A virtual environment without lnlib, and without the packages whose files begin so."""
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    packages = folder / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("lnlib", "_lnlib", "__editable__", *without)):
            (packages / path.name).symlink_to(path)
    (site / "packages.pth").write_text(f"{packages}\n")
    for name in ("share", "etc"):  # JupyterLab's pages and settings
        (folder / name).symlink_to(Path(sys.prefix) / name)
    return folder


def install(environment: Path, package: Path) -> None:
    """Install a wheel or an sdist, in place of the lnlib that is there."""
    options = ("--no-deps", "--no-build-isolation", "--force-reinstall", "--no-index")
    pip = (environment / "bin" / "python", "-m", "pip", "install", "-q", *options)
    run(*pip, package, cwd=environment)

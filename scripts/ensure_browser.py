"""Print the path of a Chrome or Chromium, installing one where there is none.

With apt-get where that is possible, else Playwright's own. Whatever the installers say goes to stderr.
"""

import os
import shutil
import subprocess
import sys

from lnlib.doctor import find_browser


def root_prefix() -> list[str] | None:
    """What to put before a command that needs root; None where sudo would ask for a password."""
    if os.name != "posix":
        return None
    if os.geteuid() == 0:
        return []
    has_sudo = shutil.which("sudo") and succeeds(["sudo", "-n", "true"])
    return ["sudo", "-n"] if has_sudo else None


def succeeds(command: list[str]) -> bool:
    """Whether the command ran to its end without an error."""
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0


def install() -> None:
    """Install a browser: Playwright's own where apt-get brings none, as on Ubuntu, which wants snap."""
    prefix = root_prefix()
    if prefix is not None and shutil.which("apt-get"):
        apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "--no-install-recommends"]
        succeeds([*apt, "update"])
        succeeds([*apt, "install", "chromium"])
    if not find_browser():
        with_libraries = ["--with-deps"] if prefix is not None and shutil.which("apt-get") else []
        succeeds([sys.executable, "-m", "playwright", "install", *with_libraries, "chromium"])


def main() -> None:
    """Find, install if need be, print."""
    if not find_browser():
        print("no Chrome or Chromium found, installing one ...", file=sys.stderr)
        install()
    found = find_browser()
    if not found:
        sys.exit("error: no Chrome or Chromium, and none could be installed; install one or set BROWSER_PATH")
    print(found)


if __name__ == "__main__":
    main()

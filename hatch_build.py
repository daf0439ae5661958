"""What a package index is told beyond pyproject.toml: addresses, and a README whose links lead there."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Metadata(MetadataHookInterface):
    """The hook that hatchling calls."""

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        urls = runpy.run_path(str(root / "lnlib" / "urls.py"))
        text = urls["absolute"]((root / "README.md").read_text(encoding="utf-8"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = urls["project_urls"]()

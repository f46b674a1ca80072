"""Build the documentation site with mkdocs-material; a link that leads nowhere is an error.

    python ci/site.py             builds it in a temporary folder, to check it
    python ci/site.py FOLDER      builds it there

The pages are the Markdown files of the checkout, staged in a folder with the layout of the checkout, so that their
links are right on the site, in an editor and where the repository is shown.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "perl_fixtures/README.md", "findings/README.md")
_LINK = re.compile(r"\]\(<?(?!\w+:|#)([^)>#\s]+)")


def stage(folder: Path) -> None:
    """Copy the pages, and the files that they link to, into ``folder``."""
    pages = [*map(Path, PAGES), *(path.relative_to(ROOT) for path in sorted((ROOT / "docs").rglob("*.md")))]
    for page in pages:
        text = (ROOT / page).read_text(encoding="utf-8")
        _copy(page, folder)
        for target in _LINK.findall(text):
            linked = (ROOT / page.parent / target).resolve()
            if linked.is_file() and linked.is_relative_to(ROOT):
                _copy(linked.relative_to(ROOT), folder)


def _copy(path: Path, folder: Path) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / path, folder / path)


def main(arguments: list[str]) -> int:
    """Build the site; the status of mkdocs."""
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(arguments[0]).resolve() if arguments else Path(scratch, "site")
        stage(Path(scratch, "pages"))
        settings = (ROOT / "ci" / "mkdocs.yml").read_text(encoding="utf-8")
        Path(scratch, "mkdocs.yml").write_text(f"docs_dir: pages\nsite_dir: {site}\n{settings}", encoding="utf-8")
        # Not --quiet: it would hide the warnings from --strict as well (findings/mkdocs-quiet-strict.sh).
        return subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", f"{scratch}/mkdocs.yml"],
            check=False,
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},  # advice of the theme's makers, in capitals
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A hook of MkDocs: links out of docs/ lead to the repository.

On GitHub they are relative, so that a checkout, a fork and a branch have their own. A site has
nothing beside docs/.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

UPWARDS = re.compile(r"(?<=\]\()(?:\.\./)+[^)\s]+")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Replace the links of a page that leave docs/."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def address(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, link[0]))
        if path.startswith("docs/"):
            return link[0]
        return f"{config.repo_url.rstrip('/')}/blob/main/{path}"

    return UPWARDS.sub(address, markdown)

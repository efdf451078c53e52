"""Pages and images of the site from outside of docs/: README, changelog, screenshots. MkDocs calls these functions."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Files of the repository that are pages of the site, by the name of the page.
PAGES = {"README.md": "start.md", "CHANGELOG.md": "changelog.md"}
# Screenshots of the report, if `make site` has made them. They stand where the page about the report has this mark.
IMAGES, MARK = ROOT / "dist" / "images", "<!-- screenshots -->"
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages and the images."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for image in sorted(IMAGES.glob("*.png")):
        files.append(File.generated(config, f"images/{image.name}", abs_src_path=str(image)))
    return files


def on_page_markdown(markdown: str, page: Any, **others: Any) -> str:
    """Lets links to files of the repository lead to the pages that they are; links to other files become text."""
    source = page.file.src_uri
    name = next((name for name, page in PAGES.items() if page == source), f"docs/{source}")
    folder = (ROOT / name).parent

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        path, mark, anchor = target.partition("#")
        if "://" in path or not path:
            return found.group(0)
        file = (folder / path).resolve()
        if not file.exists():
            return found.group(0)  # MkDocs tells of it
        inside = file.relative_to(ROOT).as_posix()
        place = PAGES.get(inside) or (inside.removeprefix("docs/") if inside.startswith("docs/") else None)
        if place is None or not place.endswith(".md"):
            return text
        return f"[{text}]({'../' * source.count('/')}{place}{mark}{anchor})"

    images = "\n\n".join(f"![{image.stem}](images/{image.name})" for image in sorted(IMAGES.glob("*.png")))
    return _LINK.sub(link, markdown).replace(MARK, images)

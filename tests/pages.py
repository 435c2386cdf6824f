"""Pages read strictly, and what holds for every page that roadbed makes."""

from __future__ import annotations

import re
from html.parser import HTMLParser

MOST_BYTES = 5_000_000
VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}
FOREIGN = {"script", "iframe", "object", "embed", "form", "foreignobject", "base"}


class Page(HTMLParser):
    """Reads a page strictly: every tag is closed in its turn. Holds elements with their attributes, and the texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def rows(self) -> int:
        return sum(tag == "tr" for tag, _ in self.elements)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such element."""
        return [attributes for name, attributes in self.elements if name == tag]


def checked_page(text: str) -> Page:
    """The page, which is whole, small, needs nothing from elsewhere, and tells of its pictures in words."""
    assert len(text.encode()) < MOST_BYTES
    page = Page(text)
    assert not FOREIGN & page.tags
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "srcset", "href", "xlink:href", "data", "action"):
            own = ("#", "data:,", "data:image/") if tag == "img" else ("#", "data:,")
            assert (attributes.get(name) or "#").startswith(own), (tag, attributes)
        assert not re.search(r"url\((?!#)|@import", attributes.get("style") or "")
        shown = ("aria-label", "title", "data-name", "alt")
        assert not [name for name, value in attributes.items() if "://" in (value or "") and name not in shown]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert not re.search(r"url\((?!#)|@import|https?:", style[1])
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in page.all("svg"))
    assert all(attributes["alt"] for attributes in page.all("img"))
    return page

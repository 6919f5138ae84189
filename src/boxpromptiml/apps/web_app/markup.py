"""HTML fragments. All text is escaped here, because file names may contain anything."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

from boxpromptiml.images import Photo, visualization

BORDER = (0, 229, 255)
"""RGB colour of region borders: cyan, which is also visible on red objects."""


def figure(photo: Photo, caption: str, kind: Literal["large", "small", "mask"] = "large") -> str:
    """An embedded image with a caption."""
    uri, text = visualization.data_uri(photo), escape(caption)
    return f'<figure class="{kind}"><img src="{uri}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def compare(photo_uri: str, answer_uri: str, caption: str) -> str:
    """A photo with the overlaid prediction, a slider that uncovers the photo, and a checkbox for full size.

    The images are embedded, because a component that serves them as files would leave them on disk.
    """
    text = escape(caption)
    return f"""<figure class="compare">
<div class="frame"><div class="layers" style="--at: 0%">
<img class="photo" src="{photo_uri}" alt="{text}"><img class="answer" src="{answer_uri}" alt="the answer">
<i class="handle"></i>
<input type="range" min="0" max="100" step="0.1" value="0" aria-label="photo to the left, answer to the right"
 oninput="this.parentNode.style.setProperty('--at', this.value + '%')">
</div></div>
<figcaption>{text} <label><input type="checkbox" class="full"
 onchange="this.closest('figure').classList.toggle('at-full-size', this.checked)"> full size</label></figcaption>
</figure>"""


def row(pieces: Iterable[str]) -> str:
    """Fragments side by side."""
    return f'<div class="pieces">{"".join(pieces)}</div>'


def notice(text: str, kind: Literal["error", "hint", "done"] = "hint") -> str:
    """A paragraph with a message or instruction; lines starting with ``$`` are commands."""
    lines = [
        f"<code>{escape(line[1:].strip())}</code>" if line.startswith("$") else escape(line)
        for line in text.splitlines()
    ]
    role = "alert" if kind == "error" else "status"
    return f'<div class="notice {kind}" role="{role}">{"<br>".join(lines)}</div>'


def headline(figures: Iterable[tuple[str, str]]) -> str:
    """Numbers in large type, each above its description."""
    cells = (f"<div><b>{escape(value)}</b><span>{escape(words)}</span></div>" for value, words in figures)
    return f'<div class="headline">{"".join(cells)}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of strings."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def keys(shortcuts: Iterable[tuple[str, str]]) -> str:
    """Keyboard shortcuts and what they do."""
    cells = (f"<span><kbd>{escape(key)}</kbd> {escape(what)}</span>" for key, what in shortcuts)
    return f'<div class="keys">{"".join(cells)}</div>'


def download(content: bytes, name: str, words: str, kind: str = "image/png") -> str:
    """A link that saves an embedded file with the given media type."""
    uri = f"data:{kind};base64," + base64.b64encode(content).decode()
    return f'<a class="download" download="{escape(name)}" href="{uri}">{escape(words)}</a>'


def heading(place: str, name: str, state: str) -> str:
    """One line naming the item shown; its state also becomes a CSS class."""
    kind = escape(state.replace(" ", "-"))
    return (
        f'<p class="what"><b>{escape(place)}</b> {escape(name)} <span class="state {kind}">{escape(state)}</span></p>'
    )

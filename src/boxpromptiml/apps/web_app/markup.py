"""Pieces of HTML. Every text is escaped here, so that names of files can hold anything."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

from boxpromptiml.images import Photo, visualization

BORDER = (0, 229, 255)
"""RGB around regions: cyan, which is seen on red things, too."""


def figure(photo: Photo, caption: str, kind: Literal["large", "small", "mask"] = "large") -> str:
    """A picture, inside the page, with a line below it."""
    uri, text = visualization.data_uri(photo), escape(caption)
    return f'<figure class="{kind}"><img src="{uri}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def compare(photo_uri: str, answer_uri: str, caption: str) -> str:
    """A photo under its answer, with a handle to draw the answer aside, and a box to tick for the photo's full size.

    The pictures stand in the page itself: a component that serves them as files would leave them on the disk.
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
    """Pieces side by side."""
    return f'<div class="pieces">{"".join(pieces)}</div>'


def notice(text: str, kind: Literal["error", "hint", "done"] = "hint") -> str:
    """A paragraph that says what happened or what to do; lines that begin with ``$`` are commands."""
    lines = [
        f"<code>{escape(line[1:].strip())}</code>" if line.startswith("$") else escape(line)
        for line in text.splitlines()
    ]
    role = "alert" if kind == "error" else "status"
    return f'<div class="notice {kind}" role="{role}">{"<br>".join(lines)}</div>'


def headline(figures: Iterable[tuple[str, str]]) -> str:
    """Numbers in large type, each above the words that say what it is."""
    cells = (f"<div><b>{escape(value)}</b><span>{escape(words)}</span></div>" for value, words in figures)
    return f'<div class="headline">{"".join(cells)}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def keys(shortcuts: Iterable[tuple[str, str]]) -> str:
    """Keyboard shortcuts and what they do."""
    cells = (f"<span><kbd>{escape(key)}</kbd> {escape(what)}</span>" for key, what in shortcuts)
    return f'<div class="keys">{"".join(cells)}</div>'


def download(content: bytes, name: str, words: str, kind: str = "image/png") -> str:
    """A link that saves a file of some media type which is inside the page."""
    uri = f"data:{kind};base64," + base64.b64encode(content).decode()
    return f'<a class="download" download="{escape(name)}" href="{uri}">{escape(words)}</a>'


def heading(place: str, name: str, state: str) -> str:
    """Which of several things is shown, in one line; the state becomes a class of its own."""
    kind = escape(state.replace(" ", "-"))
    return (
        f'<p class="what"><b>{escape(place)}</b> {escape(name)} <span class="state {kind}">{escape(state)}</span></p>'
    )

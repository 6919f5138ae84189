"""The page that contains the tabs, and its server."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import gradio as gr
from PIL import Image
from starlette.middleware import Middleware

from boxpromptiml.apps.http_security import LOOPBACK, headers_framed_by
from boxpromptiml.apps.web_app.annotate_tab import DRAWING, AnnotationContext, annotate_tab
from boxpromptiml.apps.web_app.cache_review import CacheReview
from boxpromptiml.apps.web_app.localize_tab import localize_tab
from boxpromptiml.apps.web_app.middleware import PageMiddleware
from boxpromptiml.apps.web_app.review_tab import review_tab
from boxpromptiml.core.records import InputError

if TYPE_CHECKING:  # a slow import that is not needed without a student
    from stage2_distill.inference.localizer import Localizer

SWEEP = (60, 600)
"""Interval in seconds at which temporary files are deleted, and their minimum age."""
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONOSPACE = ["ui-monospace", "DejaVu Sans Mono", "monospace"]


@dataclass(frozen=True, slots=True)
class Contents:
    """Content of the page; a tab without content explains how to open it.

    Attributes:
        localizer: the student.
        annotation: the session of the tab Annotate.
        review: the cache shown on the tab Review.
        student_name: name by which the student was loaded.
    """

    localizer: Localizer | None = None
    annotation: AnnotationContext | None = None
    review: CacheReview | None = None
    student_name: str = ""


@contextmanager
def served(
    contents: Contents,
    host: str = "127.0.0.1",
    port: int = 0,
    max_megabytes: int = 64,
    framed_by: Sequence[str] = (),
) -> Iterator[str]:
    """Serve the page in threads while the context lasts, and delete its temporary files afterwards.

    Args:
        contents: what to open.
        host: address to listen on.
        port: port to listen on; 0 for the first free one from 7860.
        max_megabytes: largest accepted photo.
        framed_by: sites that may embed the app in a frame, such as https://huggingface.co.

    Yields:
        The page's address.

    Raises:
        InputError: the port is in use, the host is not this machine's, or ``framed_by`` has an invalid address.
    """
    headers_framed_by(framed_by)
    with (
        TemporaryDirectory(prefix="boxpromptiml-page-") as name,
        _gradio_settings(Path(name)),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # so that Gradio does not decode bombs either
        page = build(contents)
        guard = Middleware(
            PageMiddleware,
            folder=Path(name),
            max_upload=max_megabytes * 1_000_000,
            hosts=LOOPBACK if host in LOOPBACK else None,
            framed_by=framed_by,
        )
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port or None,
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                max_file_size=max_megabytes * 1_000_000,
                app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None, "openapi_url": None},
                footer_links=[],
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                run_history=False,
                theme=gr.themes.Default(font=FONTS, font_mono=MONOSPACE),
                css=_packaged("page.css") + _packaged("compare.css"),
                js=_packaged("keys.js"),
            )
        except OSError:
            where = f"{host}, port {port or 'from 7860 on'}"
            raise InputError(
                f"cannot listen on {where}: the port is in use, or the address is not of this machine; choose "
                "another --port"
            ) from None
        try:
            yield address
        finally:
            page.close(verbose=False)


def build(contents: Contents) -> gr.Blocks:
    """Build the page without serving it."""
    with gr.Blocks(title="BoxPromptIML", analytics_enabled=False, fill_width=True, delete_cache=SWEEP) as page:
        gr.HTML("<h1>BoxPromptIML <small>which pixels of this photo were manipulated?</small></h1>")
        with gr.Tabs(selected=_first_tab(contents)) as tabs:
            with gr.Tab("Localize", id="localize"):
                localize_tab(contents.localizer, contents.student_name)
            with gr.Tab("Annotate", id="annotate") as tab:
                annotating = annotate_tab(contents.annotation)
            with gr.Tab("Review", id="review"):
                reviewed = review_tab(contents.review, contents.annotation, annotating, tabs)
        if annotating is not None:
            came = page.load(
                annotating.resume, None, annotating.outputs, show_progress="hidden", api_visibility="private"
            )
            came.then(None, js=DRAWING)
            tab.select(None, js=DRAWING)
        if reviewed is not None:
            page.load(reviewed.start, None, reviewed.outputs, show_progress="hidden", api_visibility="private")
    return page


def _first_tab(contents: Contents) -> str:
    """Return the first tab with content, or Annotate if there are proposals to check."""
    if contents.annotation is not None and (contents.localizer is None or contents.annotation.proposals is not None):
        return "annotate"
    return "review" if contents.localizer is None and contents.review is not None else "localize"


@contextmanager
def _gradio_settings(folder: Path) -> Iterator[None]:
    """Make Gradio keep its files in our folder, without telemetry, update checks or code reloading."""
    ours = {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "GRADIO_SHARE": "False",
        "SYSTEM": "",  # the hub sets it in Spaces, where Gradio then starts a server that reloads code
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _packaged(name: str) -> str:
    return resources.files("boxpromptiml.apps.web_app").joinpath(name).read_text(encoding="utf-8")

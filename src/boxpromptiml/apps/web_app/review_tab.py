"""The tab *Review*: a cache of pseudo-masks, worst first, to drop samples or redraw their boxes."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from boxpromptiml.apps.web_app import markup
from boxpromptiml.apps.web_app.annotate_tab import DRAWING, AnnotateTab, AnnotationContext
from boxpromptiml.apps.web_app.cache_review import DROPPED, CacheReview, Order, student_view
from boxpromptiml.core.boxes import scale
from boxpromptiml.core.records import InputError, Sample
from boxpromptiml.images import Photo, resize_photo, resize_probability, visualization

SHEET = 12
"""Number of samples shown at once."""
SIDE = 360
"""Side in pixels of the sample shown in detail."""
SHORTCUTS = [("← →", "better, worse"), ("D", "drop, or keep again"), ("F", "fix: draw its boxes again")]
NO_CACHE = """No cache is open, so there is nothing to review.
$ boxpromptiml app --cache runs/demo/pseudomasks --photos runs/demo/data
With the folder of its photos, you can redraw the boxes of bad samples."""

SampleView = tuple[Any, int, str, str, str]
"""New values of gallery, rank, heading, images and list."""


def pair(sample: Sample, side: int) -> tuple[Photo, Photo | None]:
    """Draw a sample with its boxes and tinted pseudo-mask, and with its ground truth if there is any."""
    photo = resize_photo(sample.image, side, side)
    factor = side / len(sample.image)
    boxes_xyxy = scale(sample.boxes_xyxy, factor, factor)

    def tinted(mask: Photo) -> Photo:
        shown = resize_photo(np.repeat(mask[..., None], 3, axis=2), side, side)[..., 0]
        tint = visualization.overlay(photo, (shown / 255).astype(np.float32), border=markup.BORDER)
        return visualization.with_boxes(tint, boxes_xyxy)

    return tinted(sample.pseudo_mask), None if sample.truth is None else tinted(sample.truth)


def number(review: CacheReview, row: int, order: Order) -> str:
    """Format the value by which a sample is ranked."""
    known = {"agreement": review.agreement, "confidence": review.reader.confidence, "student": review.student_agreement}
    values = known[order]
    return "no truth" if values is None or math.isnan(values[row]) else f"{values[row]:.2f}"


def caption(review: CacheReview, row: int, order: Order) -> str:
    """Return the caption of a thumbnail: the value by which it is ranked, and its marks."""
    marks = [" ≠ student"] if review.is_marked(row) else []
    return number(review, row, order) + "".join(marks + [" dropped"] * review.is_dropped(row))


def sheet(review: CacheReview, order: Order, rank: int) -> list[tuple[Photo, str]]:
    """Draw thumbnails of the samples around a rank, with the value by which they are ranked; dropped ones are grey."""
    first = rank - rank % SHEET
    cells = []
    for shown in range(first, min(first + SHEET, len(review))):
        row = review.row(order, shown)
        picture = pair(review.reader[row], 160)[0]
        if review.is_dropped(row):
            picture = (picture // 3 + 150).astype(np.uint8)
        cells.append((picture, caption(review, row, order)))
    return cells


def detail(review: CacheReview, row: int) -> str:
    """Render one sample in detail: photo, pseudo-mask, ground truth, and the student's prediction."""
    sample = review.reader[row]
    mask, truth = pair(sample, SIDE)
    plain = resize_photo(sample.image, SIDE, SIDE)
    pieces = [
        markup.figure(plain, "photo, as the student sees it", "small"),
        markup.figure(mask, f"boxes and pseudo-mask, confidence {sample.confidence:.2f}", "small"),
    ]
    if truth is not None:
        pieces.append(markup.figure(truth, f"truth, agreement (IoU) {review.agreement[row]:.2f}", "small"))
    if review.localizer is not None:
        probability, iou = student_view(review.localizer, sample)
        tint = visualization.overlay(
            plain, resize_probability(probability, SIDE, SIDE), review.localizer.threshold, border=markup.BORDER
        )
        pieces.append(markup.figure(tint, f"student, IoU with the pseudo-mask {iou:.2f}", "small"))
    return markup.row(pieces)


def heading(review: CacheReview, order: Order, rank: int) -> str:
    """Render the line that identifies a sample."""
    row = review.row(order, rank)
    reader = review.reader
    facts = [f"image {reader.image_ids[row]}", str(reader.sources[row]), str(reader.splits[row])]
    facts += [str(reader.kinds[row])] if reader.kinds[row] else []
    facts += ["authentic"] if reader.authentic[row] else []
    facts += ["student and teacher disagree"] if review.is_marked(row) else []
    state = "dropped" if review.is_dropped(row) else "kept"
    return markup.heading(f"{rank + 1} of {len(review)}", ", ".join(facts), state)


def the_list(review: CacheReview) -> str:
    """Render the number of dropped samples and the command that removes them."""
    if not review.dropped:
        return markup.notice("No samples dropped. Dropped samples are listed here; the cache does not change.")
    paths = (review.cache, review.cache / DROPPED, f"{review.cache}-pruned")
    cache, ids, out = (shlex.quote(str(path)) for path in paths)
    words = f"""{review.dropped} dropped and listed in {DROPPED}. To remove them:
$ boxpromptiml cache prune --cache {cache} --ids_file {ids} --out {out}"""
    return markup.notice(words, "done")


def look(review: CacheReview, order: Order, rank: int, redraw_sheet: bool = True) -> SampleView:
    """Show a sample."""
    row = review.row(order, rank)
    try:
        shown = detail(review, row)
        around: Any = sheet(review, order, rank) if redraw_sheet else gr.skip()
    except InputError as error:  # a damaged shard
        return gr.skip(), rank, heading(review, order, rank), markup.notice(str(error), "error"), the_list(review)
    gallery = gr.skip() if not redraw_sheet else gr.Gallery(around, selected_index=rank % SHEET)
    return gallery, rank, heading(review, order, rank), shown, the_list(review)


@dataclass(frozen=True, slots=True)
class ReviewTab:
    """Components to update when the page is loaded, and the function that returns their values."""

    outputs: list[Any]
    start: Callable[[], SampleView]


def review_tab(
    review: CacheReview | None, annotation: AnnotationContext | None, annotate: AnnotateTab | None, tabs: gr.Tabs
) -> ReviewTab | None:
    """Build the tab within the page under construction; without a cache, a tab that explains how to open one.

    Args:
        review: the cache.
        annotation: the open session, in which boxes can be redrawn.
        annotate: the tab Annotate.
        tabs: all tabs, to switch to it.
    """
    if review is None:
        gr.HTML(markup.notice(NO_CACHE))
        return None
    has_truth = not bool(np.isnan(review.agreement).all())
    orders = [("agreement with the truth", "agreement")] if has_truth else []
    orders.append(("the teacher's confidence", "confidence"))
    orders += [("agreement with the student", "student")] if review.localizer is not None else []
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            order = gr.Radio(orders, value=orders[0][1], label="Worst first, by", elem_id="order")
            gallery = gr.Gallery(
                columns=4, height=455, allow_preview=False, show_label=False, object_fit="contain", interactive=False,
                buttons=[], elem_id="sheet",
            )  # fmt: skip
        with gr.Column(scale=6, min_width=400):
            title = gr.HTML(elem_id="sample")
            large = gr.HTML(elem_id="detail")
            with gr.Row(elem_id="choices"):
                back = gr.Button("←", elem_classes="key-left", min_width=40, scale=1)
                drop = gr.Button("Drop or keep", elem_classes="key-d", min_width=60, scale=4)
                fix = gr.Button("Fix its boxes", variant="primary", elem_classes="key-f", min_width=60, scale=4)
                forth = gr.Button("→", elem_classes="key-right", min_width=40, scale=1)
            listed = gr.HTML(elem_id="listed")
            gr.HTML(markup.keys(SHORTCUTS))
    rank = gr.Number(0, visible="hidden", precision=0, elem_id="rank")
    outputs = [gallery, rank, title, large, listed]

    def move(by: int) -> Any:
        def run(by_order: Order, at: int) -> SampleView:
            there = (at + by) % len(review)
            return look(review, by_order, there)

        return run

    def ordered(by_order: Order, at: int) -> SampleView:
        if by_order == "student":
            try:
                review.ask_student()
            except InputError as error:  # a damaged shard
                return gr.skip(), at, gr.skip(), markup.notice(str(error), "error"), gr.skip()
        return look(review, by_order, 0)

    def chosen(by_order: Order, at: int, event: gr.SelectData) -> SampleView:
        return look(review, by_order, at - at % SHEET + int(event.index), redraw_sheet=False)

    def dropped(by_order: Order, at: int) -> SampleView:
        try:
            review.toggle(review.row(by_order, at))
        except OSError as error:
            words = f"{DROPPED} cannot be written ({error.strerror}); free space or make the cache's folder writable"
            return (*look(review, by_order, at)[:4], markup.notice(words, "error"))
        return look(review, by_order, at)

    listen: dict[str, Any] = {"inputs": [order, rank], "outputs": outputs, "show_progress": "hidden"}
    listen |= {"api_visibility": "private", "concurrency_id": "review", "concurrency_limit": 1}
    gallery.select(chosen, **listen)
    order.change(ordered, **(listen | {"show_progress": "full", "show_progress_on": large}))
    back.click(move(-1), **listen)
    forth.click(move(1), **listen)
    drop.click(dropped, **listen)

    if annotation is None or annotate is None:
        fix.click(lambda: markup.notice(NO_CACHE.splitlines()[-1], "error"), None, large, api_visibility="private")
    else:
        fill = annotate

        def fixed(by_order: Order, at: int) -> tuple[Any, ...]:
            row = review.row(by_order, at)
            sample = review.reader[row]
            place = annotation.session.place_of(sample.image_id, sample.width, sample.height)
            if place is None:
                words = (
                    f"Image {sample.image_id} ({sample.width} × {sample.height}) is not in the manifest of "
                    f"{annotation.session.folder}; open the folder that the cache was made from with --photos."
                )
                return (gr.skip(), markup.notice(words, "error"), *[gr.skip()] * len(fill.outputs))
            return (gr.Tabs(selected="annotate"), gr.skip(), *fill.show(place))

        fix.click(
            fixed, [order, rank], [tabs, large, *fill.outputs], show_progress="hidden", api_visibility="private"
        ).then(None, js=DRAWING)
    first: Order = "agreement" if has_truth else "confidence"
    return ReviewTab(outputs, lambda: look(review, first, 0))

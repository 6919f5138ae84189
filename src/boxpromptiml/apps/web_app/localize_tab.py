"""The tab *Localize*: a student's prediction for an uploaded photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from boxpromptiml.apps.web_app import markup
from boxpromptiml.apps.web_app.annotation_files import inside
from boxpromptiml.apps.web_app.example_photo import NAME as EXAMPLE
from boxpromptiml.apps.web_app.example_photo import forged_photo
from boxpromptiml.apps.web_app.localize_photo import LocalizedPhoto, localize_photo, localize_upload, regions_of
from boxpromptiml.apps.web_app.photo_page import photo_page
from boxpromptiml.apps.web_app.student_facts import StudentFacts
from boxpromptiml.core.records import InputError
from boxpromptiml.images import mask_png, resize_probability, visualization

if TYPE_CHECKING:  # a slow import that is not needed without a student
    from stage2_distill.inference.localizer import Localizer

MAP_SIDE = 400
"""Length in pixels of a map's longer side."""
LISTED = 6
"""Maximum number of regions listed."""
KEPT = 1800
"""Time in seconds for which an open page keeps its photo, so that the threshold can be moved."""

SAVING = """() => {
  let looks = 40;
  const timer = setInterval(() => {
    const link = document.querySelector('#saved a.download');
    if (link) link.click();
    if (link || !--looks) clearInterval(timer);
  }, 50);
}"""
"""Script that saves the page about a photo once it is ready."""
NO_STUDENT = """No student is loaded, so this tab cannot process photos.
Start the app without --checkpoint to use the released student, or pass your own with --checkpoint.
$ boxpromptiml app"""
NO_PHOTO = """Drop a photo on the left, or choose one.
You will see which regions the student marks, with what probability, and the priors from its gates and its memory.
The photo stays on this machine and is deleted as soon as it has been read."""


def drawn(view: LocalizedPhoto, threshold: float) -> str:
    """Render the photo with its manipulated region, and the maps below it."""
    maps = [
        ("probability", view.probability),
        ("gate prior: what the gates let through", view.gate_prior),
        ("memory prior: what resembles learned manipulations", view.memory_prior),
    ]
    factor = min(1.0, MAP_SIDE / max(view.shown_width, view.shown_height))
    size = max(1, round(view.shown_width * factor)), max(1, round(view.shown_height * factor))
    heats = (
        markup.figure(visualization.heat(resize_probability(each, *size)), caption, "small") for caption, each in maps
    )
    return markup.compare(view.picture, view.overlay_uri(threshold), view.caption()) + markup.row(heats)


def result_markup(view: LocalizedPhoto, threshold: float) -> str:
    """Render the score, regions at the photo's own size, and the mask for download."""
    mask, regions = regions_of(view, threshold)
    numbers = [
        (f"{view.score:.2f}", "score of the photo"),
        (f"{mask.mean():.1%}", "of the photo"),
        (f"{len(regions)}", "region" if len(regions) == 1 else "regions"),
    ]
    rows = [
        (str(i), ", ".join(map(str, region.box_xyxy)), f"{region.score:.2f}", f"{region.area / mask.size:.1%}")
        for i, region in enumerate(regions[:LISTED], 1)
    ]
    if regions:
        below = markup.table(("", "box x1, y1, x2, y2", "score", "area"), rows)
        below += f"<p>and {len(regions) - LISTED} smaller ones</p>" if len(regions) > LISTED else ""
    else:
        below = markup.notice("Nothing in this photo is above the threshold.", "done")
    saved = markup.download(mask_png(mask), f"{Path(view.name).stem}_mask.png", "Download the mask (PNG)")
    return markup.headline(numbers) + below + saved


def localize_tab(localizer: Localizer | None, student_name: str) -> None:
    """Build the tab within the page under construction; without a student, a tab that explains how to load one.

    Args:
        localizer: the student.
        student_name: name by which it was loaded.
    """
    if localizer is None:
        gr.HTML(markup.notice(NO_STUDENT))
        return
    from stage2_distill.inference.localizer import UNCALIBRATED

    student = StudentFacts.of(localizer, student_name)
    calibrated = localizer.calibration != UNCALIBRATED
    origin = "calibrated" if calibrated else "not calibrated; `boxpromptiml calibrate` chooses one"
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=280):
            upload = gr.File(label="Photo", file_count="single", height=120, elem_id="photo")
            example = gr.Button("Try a forged photo: a cat in a coffee cup", size="sm", elem_id="example")
            tiled = gr.Checkbox(
                False, label="In tiles", elem_id="tiled",
                info=
                    "Process the next photo at its own resolution: slower, and better only if the student was "
                    "trained at that scale."
                ,
            )  # fmt: skip
            threshold = gr.Slider(
                0, 0.99, localizer.threshold, step=0.01, label="Threshold", info=f"{localizer.threshold:.2f}: {origin}",
                elem_id="threshold",
            )  # fmt: skip
            facts = gr.HTML(elem_id="facts")
            save = gr.Button("Save a page about this photo", size="sm", visible=False, elem_id="save")
            saved = gr.HTML(elem_id="saved")
        with gr.Column(scale=5):
            stage = gr.HTML(markup.notice(NO_PHOTO), elem_id="answer")
    view: gr.State = gr.State(None, time_to_live=KEPT)

    def photo_dropped(sent: dict[str, Any], limit: float, in_tiles: bool) -> tuple[Any, ...]:
        try:
            file = inside(Path(upload.GRADIO_CACHE).resolve(), sent["path"])  # checked, because it will be deleted
            seen = localize_upload(localizer, file, str(sent["orig_name"]), in_tiles)
        except InputError as error:
            return None, None, markup.notice(str(error), "error"), "", gr.Button(visible=False), ""
        return None, seen, drawn(seen, limit), result_markup(seen, limit), gr.Button(visible=True), ""

    def example_asked(limit: float, in_tiles: bool) -> tuple[Any, ...]:
        seen = localize_photo(localizer, forged_photo()[0], EXAMPLE, in_tiles)
        return seen, drawn(seen, limit), result_markup(seen, limit), gr.Button(visible=True), ""

    def page_asked(seen: LocalizedPhoto | None, limit: float) -> str:
        if seen is None:
            return markup.notice("The photo is no longer in memory; drop it again.", "error")
        content, name = photo_page(seen, limit, student).encode(), f"{Path(seen.name).stem}_answer.html"
        return markup.download(content, name, "The page was saved; save it again", "text/html")

    def threshold_moved(seen: LocalizedPhoto | None, limit: float) -> tuple[object, object]:
        if seen is None:
            return gr.skip(), gr.skip()
        return drawn(seen, limit), result_markup(seen, limit)

    filled = [view, stage, facts, save, saved]
    upload.upload(
        photo_dropped, [upload, threshold, tiled], [upload, *filled], show_progress_on=stage,
        preprocess=False,  # preprocessing would only copy the file
        api_visibility="private",
    )  # fmt: skip
    example.click(example_asked, [threshold, tiled], filled, show_progress_on=stage, api_visibility="private")
    save.click(page_asked, [view, threshold], saved, api_visibility="private").then(None, js=SAVING)
    threshold.release(
        threshold_moved, [view, threshold], [stage, facts], show_progress="hidden", trigger_mode="always_last",
        api_visibility="private",
    )  # fmt: skip

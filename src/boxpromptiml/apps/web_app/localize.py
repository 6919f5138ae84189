"""The tab *Localize*: a student's prediction for an uploaded photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import torch

from boxpromptiml.apps.web_app import markup
from boxpromptiml.apps.web_app.annotation_files import inside
from boxpromptiml.apps.web_app.example_photo import NAME as EXAMPLE
from boxpromptiml.apps.web_app.example_photo import forged_photo
from boxpromptiml.apps.web_app.localized_photo import LocalizedPhoto, regions_of
from boxpromptiml.apps.web_app.photo_page import photo_page
from boxpromptiml.apps.web_app.student_facts import StudentFacts
from boxpromptiml.core.records import InputError
from boxpromptiml.images import (
    FileFacts,
    ImageError,
    Photo,
    mask_png,
    read_facts,
    read_upright,
    resize_photo,
    resize_probability,
    visualization,
)

if TYPE_CHECKING:  # a slow import that is not needed without a student
    from stage2_distill.inference.localizer import Localizer

SIDES = (640, 4096)
"""Smallest and largest length, in pixels, of the displayed photo's longer side."""
QUALITY = 90
"""JPEG quality of the displayed photo."""
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


def localize_photo(
    localizer: Localizer, photo: Photo, name: str, tiled: bool = False, facts: FileFacts | None = None
) -> LocalizedPhoto:
    """Run the student on a photo.

    Args:
        localizer: the student.
        photo: (H, W, 3) uint8 RGB.
        name: original file name.
        tiled: also process it at its own resolution, in overlapping tiles, which then give the probability.
        facts: of its file.
    """
    from stage2_distill.data.student_input import student_input
    from stage2_distill.inference.tiling import localize_tiled

    side = localizer.student.image_size
    image = student_input(photo, side)[None].to(localizer.student.mean.device)
    with torch.inference_mode():
        localization = localizer.student(image)
    maps = (torch.sigmoid(localization.logits), localization.gate_prior, localization.memory_prior)
    probability, gate_prior, memory_prior = (of_batch[0, 0].float().cpu().numpy() for of_batch in maps)
    if tiled:
        probability = localize_tiled(photo, side, localizer.localize)
    (height, width), (shown_width, shown_height) = photo.shape[:2], _shown_size(photo)
    picture = visualization.data_uri(resize_photo(photo, shown_width, shown_height), QUALITY)
    return LocalizedPhoto(
        name, picture, shown_width, shown_height, width, height, probability, gate_prior, memory_prior, tiled, facts
    )


def _shown_size(photo: Photo) -> tuple[int, int]:
    """Return the display size (width, height): small photos are enlarged, so that outlines stay thin."""
    height, width = photo.shape[:2]
    longest = max(height, width)
    factor = min(max(longest, SIDES[0]), SIDES[1]) / longest
    return max(1, round(width * factor)), max(1, round(height * factor))


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
        (f"{view.probability.max():.2f}", "largest probability"),
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


def consume(localizer: Localizer, upload: Path, name: str, tiled: bool = False) -> LocalizedPhoto:
    """Run the student on an uploaded photo, as `localize_photo` does, and always delete the file.

    Raises:
        ImageError: the photo cannot be read; the message uses its original name.
    """
    try:
        upright = read_upright(upload)
        return localize_photo(localizer, upright.photo(), name, tiled, read_facts(upload, upright.orientation))
    except ImageError as error:
        raise ImageError(str(error).replace(str(upload), name)) from None
    finally:
        upload.unlink(missing_ok=True)


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
            seen = consume(localizer, file, str(sent["orig_name"]), in_tiles)
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

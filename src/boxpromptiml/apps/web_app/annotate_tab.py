"""The tab *Annotate*: drawing coarse boxes on the photos of a folder, with the teacher's pseudo-mask beside them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio_image_annotation import image_annotator

from boxpromptiml.apps.web_app import markup
from boxpromptiml.apps.web_app.annotation_files import MANIFEST, AnnotationSessionError
from boxpromptiml.apps.web_app.annotation_session import AnnotationSession
from boxpromptiml.apps.web_app.canvas_boxes import ARROWS, drawn_boxes, factors, nudged, on_canvas
from boxpromptiml.apps.web_app.proposals import Proposals, snapped, summary
from boxpromptiml.apps.web_app.teacher_preview import Opened, Previewer
from boxpromptiml.core.boxes import Boxes, as_boxes
from boxpromptiml.core.records import InputError
from boxpromptiml.images import ImageError, visualization

PAPER_SECONDS = 7
SHORTCUTS = [
    ("Enter", "accept, next photo"),
    ("N", "nothing manipulated, next"),
    ("R", "redraw: no boxes"),
    ("U", "undo the last decision"),
    ("← →", "previous, next photo"),
    ("Del", "remove the box clicked on"),
    ("B", "a box in the middle"),
    ("Shift ←↑↓→", "move the newest box"),
    ("Ctrl ←↑↓→", "resize the newest box"),
    ("C  D", "on the canvas: draw, drag"),
]
DRAWING = """() => {
  let looks = 40;
  const timer = setInterval(() => {
    const button = document.querySelector('#canvas [aria-label="Create box"]');
    if (button && button.offsetParent) button.click();
    if ((button && button.offsetParent) || !--looks) clearInterval(timer);
  }, 50);
}"""
"""Script after loading a photo or the tab: focuses the canvas and switches it to drawing, because it may be
dragging."""
NO_FOLDER = """No folder is open, so there are no photos to annotate.
$ boxpromptiml app --photos FOLDER
Each decision is saved to manifest.json in that folder."""
NOTHING_PROPOSED = """The student marks nothing in this photo.
Press N if nothing was manipulated, or draw a box around what was."""
DRAW = """Draw a box around what was manipulated; a coarse one will do.
The teacher's pseudo-mask appears here."""

Shown = tuple[Any, int, str, str, str]
"""New values of canvas, place, title, answer and progress."""


@dataclass(frozen=True, slots=True)
class AnnotationContext:
    """An annotation session with a teacher and, optionally, a student's proposals."""

    session: AnnotationSession
    previewer: Previewer
    proposals: Proposals | None = None


@dataclass(frozen=True, slots=True)
class AnnotateTab:
    """Interface of the tab for other parts of the page.

    Attributes:
        outputs: components to update.
        show: returns their values for the photo at an index.
        resume: returns their values for the photo shown last.
    """

    outputs: list[Any]
    show: Callable[[int], Shown]
    resume: Callable[[], Shown]


def mask_preview(context: AnnotationContext, photo: Opened, boxes_xyxy: Boxes) -> str:
    """Render the teacher's pseudo-mask for some boxes, or a hint if there are none."""
    if not len(boxes_xyxy):
        return markup.notice(DRAW)
    mask, score = context.previewer.pseudo_mask(photo, boxes_xyxy)
    caption = f"pseudo-mask of {context.previewer.teacher.name}, confidence {score:.2f}"
    return markup.figure(visualization.overlay(photo.shown, mask, border=markup.BORDER), caption, "mask")


def progress(session: AnnotationSession) -> str:
    """Render the number of annotated photos and the median time."""
    now = session.progress()
    median = "–" if now.median_seconds is None else f"{now.median_seconds:.1f} s"
    return markup.headline(
        [
            (f"{now.done} of {now.photos}", "photos done"),
            (median, f"an image, median; the paper: {PAPER_SECONDS} s"),
        ]
    )


def title(session: AnnotationSession, place: int, photo: Opened | None) -> str:
    """Render the photo's name and annotation state."""
    label = session.label(place)
    state = "not done" if label is None else "authentic" if label.authentic else "done"
    state = "proposed" if session.is_proposal(place) else state
    size = "" if photo is None else f", {photo.width} × {photo.height}"
    return markup.heading(f"{place + 1} of {len(session)}", session.names[place] + size, state)


def show(context: AnnotationContext, place: int, said: str = "") -> Shown:
    """Show a photo with its boxes; ``said`` is displayed above the teacher's pseudo-mask."""
    session = context.session
    session.show(place, context.proposals.boxes(session.names[place]) if context.proposals else None)
    try:
        photo = context.previewer.open(session.path(place))
    except (ImageError, AnnotationSessionError) as error:
        said += markup.notice(f"{_local(session, error)}\nContinue with the next photo.", "error")
        return None, place, title(session, place, None), said, progress(session)
    boxes_xyxy = session.boxes(place)
    label, proposed = session.label(place), session.is_proposal(place)
    if label is not None and label.authentic and not len(boxes_xyxy):
        below = markup.notice("You marked this photo as authentic. Draw a box to change that.", "done")
    elif proposed and not len(boxes_xyxy):
        below = markup.notice(NOTHING_PROPOSED)
    else:
        below = mask_preview(context, photo, boxes_xyxy)
    canvas = on_canvas(photo, boxes_xyxy, proposed)
    return canvas, place, title(session, place, photo), said + below, progress(session)


def show_next(context: AnnotationContext, place: int) -> Shown:
    """Show the next undecided photo, or a message that there is none."""
    session, said = context.session, ""
    while (following := session.next_open(place)) is not None:
        try:
            context.previewer.open(session.path(following))
        except (ImageError, AnnotationSessionError) as error:
            session.set_aside(following)
            said += markup.notice(f"left out: {_local(session, error)}", "error")
        else:
            return show(context, following, said)
    manifest, out = (shlex.quote(str(path)) for path in (session.given / MANIFEST, f"{session.given}-pseudomasks"))
    words = f"""All readable photos are done. {summary(session.outcomes())}
Stage one is next:
$ boxpromptiml pseudomasks --config configs/pseudomasks/demo.yaml --manifest {manifest} --out {out}"""
    return show(context, place, said + markup.notice(words, "done"))


def _local(session: AnnotationSession, error: Exception) -> str:
    """Format an error with file names relative to the folder."""
    if isinstance(error, OSError):
        what = f"cannot be written ({error.strerror})"
        return f"{MANIFEST} {what}; the decision was not saved: free space or make the folder writable, then try again"
    return str(error).replace(f"{session.folder}/", "")


def annotate_tab(context: AnnotationContext | None) -> AnnotateTab | None:
    """Build the tab within the page under construction; without a folder, a tab that explains how to open one."""
    if context is None:
        gr.HTML(markup.notice(NO_FOLDER))
        return None
    session = context.session
    with gr.Row(equal_height=False):
        with gr.Column(scale=8, min_width=400):
            heading = gr.HTML(elem_id="title")
            canvas = image_annotator(
                None, sources=[], show_label=False, disable_edit_boxes=True, show_remove_button=True,
                show_clear_button=False, show_download_button=False, show_share_button=False, box_min_size=4,
                box_thickness=2, box_selected_thickness=3, boxes_alpha=0.15, handle_size=8,
                label_list=["manipulated"], label_colors=[visualization.BOX_COLOUR], use_default_label=True,
                elem_id="canvas",
            )  # fmt: skip
            with gr.Row(elem_id="steps"):
                back = gr.Button("←", elem_classes="key-left", min_width=40, scale=1)
                undo = gr.Button("Undo", elem_classes="key-u", min_width=60, scale=2)
                redraw = gr.Button("Redraw", elem_classes="key-r", min_width=60, scale=2)
                nothing = gr.Button("Nothing manipulated", elem_classes="key-n", min_width=60, scale=4)
                accept = gr.Button("Accept", variant="primary", elem_classes="key-enter", min_width=60, scale=4)
                forth = gr.Button("→", elem_classes="key-right", min_width=40, scale=1)
            nudges = ["b", *(f"{how}-{arrow}" for how in ("shift", "ctrl") for arrow in ARROWS)]
            with gr.Row(elem_classes="unseen"):
                nudge_buttons = {key: gr.Button(key, elem_classes=f"key-{key}") for key in nudges}
        with gr.Column(scale=5, min_width=300):
            numbers = gr.HTML(elem_id="progress")
            reply = gr.HTML(elem_id="reply")
            gr.HTML(markup.keys(SHORTCUTS))
            if session.left_out:
                gr.HTML(markup.notice("Skipped:\n" + "\n".join(session.left_out[:5])))
            if session.not_looked_at:
                gr.HTML(markup.notice(f"{session.not_looked_at.capitalize()}."))
    place = gr.Number(visible="hidden", precision=0, elem_id="place")
    outputs = [canvas, place, heading, reply, numbers]

    def at(raw: Any) -> int:
        try:
            return int(raw)
        except (TypeError, ValueError, OverflowError):
            raise AnnotationSessionError("no photo is open; reload the page") from None

    def step(do: Callable[[int, Any], Shown], of_the_photo: bool = True) -> Callable[[Any, Any], Any]:
        def run(raw: Any, payload: Any) -> Any:
            try:
                if raw is None:  # on first display the canvas reports before its photo's index is set
                    return show(context, session.current)
                here = at(raw)
                if of_the_photo and here != session.current:  # a second key press, or another browser tab
                    return show(context, session.current)
                return do(here, payload)
            except (InputError, OSError) as error:  # no decision was made: the boxes on the canvas stay
                return gr.skip(), gr.skip(), gr.skip(), markup.notice(_local(session, error), "error"), gr.skip()

        return run

    def changed(here: int, payload: Any) -> Shown:
        photo = context.previewer.open(session.path(here))
        boxes_xyxy = drawn_boxes(payload, photo)
        if here != session.current or not session.draft(here, boxes_xyxy, tolerance=float(factors(photo).max())):
            return gr.skip(), gr.skip(), gr.skip(), gr.skip(), gr.skip()
        return gr.skip(), gr.skip(), title(session, here, photo), mask_preview(context, photo, boxes_xyxy), gr.skip()

    def accepted(here: int, payload: Any) -> Shown:
        photo = context.previewer.open(session.path(here))
        drawn = drawn_boxes(payload, photo)
        session.accept(here, snapped(drawn, session.offered(here), tolerance=float(factors(photo).max())))
        return show_next(context, here)

    def authentic(here: int, payload: Any) -> Shown:
        session.authentic(here)
        return show_next(context, here)

    def cleared(here: int, payload: Any) -> Shown:
        session.draft(here, as_boxes([]))
        return show(context, here)

    def undone(here: int, payload: Any) -> Shown:
        before = session.undo()
        words = "There is nothing to undo." if before is None else "The last decision was undone."
        return show(context, here if before is None else before, markup.notice(words))

    def moved(by: int) -> Callable[[int, Any], Shown]:
        return lambda here, payload: show(context, (here + by) % len(session))

    def nudge(key: str) -> Callable[[int, Any], Shown]:
        def run(here: int, payload: Any) -> Shown:
            photo = context.previewer.open(session.path(here))
            canvas_value = on_canvas(photo, nudged(drawn_boxes(payload, photo), photo, key))
            return canvas_value, gr.skip(), gr.skip(), gr.skip(), gr.skip()  # triggers the canvas's change event

        return run

    listen: dict[str, Any] = {
        "inputs": [place, canvas],
        "outputs": outputs,
        "preprocess": False,
        "api_visibility": "private",
    }
    listen |= {"concurrency_id": "annotate", "concurrency_limit": 1}
    canvas.change(
        step(changed, of_the_photo=False),
        trigger_mode="always_last",
        show_progress="minimal",
        show_progress_on=reply,
        **listen,
    )
    on_click = [
        (accept, step(accepted)),
        (nothing, step(authentic)),
        (redraw, step(cleared)),
        (undo, step(undone, of_the_photo=False)),
        (back, step(moved(-1), of_the_photo=False)),
        (forth, step(moved(1), of_the_photo=False)),
        *((button, step(nudge(key))) for key, button in nudge_buttons.items()),
    ]
    for button, run in on_click:
        button.click(run, show_progress="hidden", **listen).then(None, js=DRAWING)
    return AnnotateTab(outputs, lambda where: show(context, where), lambda: show(context, session.current))

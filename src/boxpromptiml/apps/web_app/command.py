"""The command ``boxpromptiml app``."""

from __future__ import annotations

import importlib.util
import threading
import webbrowser
from contextlib import ExitStack
from pathlib import Path

from boxpromptiml.core.limits import Count, Port, Share, ShareBelowOne, within_limits
from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.signals import exits_on_sigterm
from stage1_pseudomask.teachers import Teacher
from stage2_distill.inference import released


@within_limits
def app(
    checkpoint: str | None = released.NAME,
    photos: Path | None = None,
    teacher: Teacher | None = None,
    val_share: ShareBelowOne = 0.0,
    proposals: Share = 0.0,
    cache: Path | None = None,
    host: str = "127.0.0.1",
    port: Port = 0,
    open_browser: bool = True,
    max_megabytes: Count = 64,
    framed_by: list[str] | None = None,
) -> int:
    """Open a web app to localize manipulations in photos, annotate boxes, and review pseudo-masks.

    The app is for local use: it listens on the loopback address and loads nothing from the internet. Ctrl-C stops it.
    After an interruption the same command continues with the current photo.

    Args:
        checkpoint: student for the tab Localize: released for the one that comes with the package, a .ckpt file written
            by `boxpromptiml fit`, a folder with a calibrated or saved student, or its OWNER/NAME on the Hugging Face
            hub; null for none.
        photos: folder for the tab Annotate. Every decision is saved to manifest.json there; an existing manifest is
            extended.
        teacher: model that makes the pseudo-masks shown beside the boxes, as for `boxpromptiml pseudomasks`; by default
            stage1_pseudomask.teachers.box_segmenter.BoxSegmenter.
        val_share: fraction of newly annotated photos that goes to the val split, by name.
        proposals: fraction of the photos, by name, for which the tab Annotate starts with the student's regions as
            boxes; photos with the largest uncertainty are shown first. 1 for all; with 0.5 the annotation times with
            and without proposals can be compared. By default none, because proposals bias the annotator.
        cache: folder for the tab Review: a complete cache written by `boxpromptiml pseudomasks`. Dropped samples are
            listed in dropped.txt there, for `boxpromptiml cache prune`; the cache itself is not changed.
        host: address to listen on. With any other than 127.0.0.1, everyone who can reach this machine can use the app.
        port: port to listen on; 0 for the first free one from 7860.
        open_browser: open the app in the default browser.
        max_megabytes: largest accepted photo.
        framed_by: sites that may embed the app in a frame, such as '[https://huggingface.co]'; by default none.
    """
    _require_gradio()
    if proposals and checkpoint is None:
        raise InputError("proposals need a student; omit --checkpoint to use the released one, or pass another")
    from boxpromptiml.apps.web_app.annotate_tab import AnnotationContext
    from boxpromptiml.apps.web_app.annotation_session import opened
    from boxpromptiml.apps.web_app.cache_review import CacheReview
    from boxpromptiml.apps.web_app.page import Contents, served
    from boxpromptiml.apps.web_app.proposals import Proposals, summary
    from boxpromptiml.apps.web_app.teacher_preview import Previewer
    from stage1_pseudomask.teachers.box_segmenter import BoxSegmenter

    with ExitStack() as stack:
        stack.enter_context(exits_on_sigterm())  # so that temporary files are deleted
        localizer = None
        if checkpoint is not None:
            from stage2_distill.inference.localizer import load_named

            localizer = load_named(checkpoint)
        annotation, review = None, None
        if photos is not None:
            session = stack.enter_context(opened(photos, val_share))
            proposed = Proposals(localizer, session, proposals) if localizer is not None and proposals else None
            annotation = AnnotationContext(session, Previewer(teacher or BoxSegmenter()), proposed)
        if cache is not None:
            review = CacheReview(cache, localizer)
        contents = Contents(localizer, annotation, review, checkpoint or "")
        address = stack.enter_context(served(contents, host, port, max_megabytes, framed_by or ()))
        print(f"{address}  (Ctrl-C to stop)", flush=True)
        if open_browser:
            webbrowser.open(address)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("closed")
        if annotation is not None and (line := summary(annotation.session.outcomes())):
            print(line)
    return 0


def _require_gradio() -> None:
    missing = [name for name in ("gradio", "gradio_image_annotation") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"the web app needs {' and '.join(missing)}; install with: pip install 'boxpromptiml[app]'")

"""A self-contained HTML page about one photo, to keep or send."""

from __future__ import annotations

import datetime
from importlib import resources

import jinja2
from markupsafe import Markup

from boxpromptiml import __version__
from boxpromptiml.apps.web_app import markup
from boxpromptiml.apps.web_app.localize_photo import LocalizedPhoto, regions_of
from boxpromptiml.apps.web_app.student_facts import StudentFacts

LISTED = 40
"""Maximum number of regions listed."""


def photo_page(view: LocalizedPhoto, threshold: float, student: StudentFacts) -> str:
    """Render the page: prediction over the photo, regions, facts about the file, the student and its limitations.

    Args:
        view: the photo with its prediction.
        threshold: pixels above it count as manipulated; may differ from the student's own.
        student: facts about the student that made the prediction.
    """
    mask, regions = regions_of(view, threshold)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("boxpromptiml.apps.web_app"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles = resources.files("boxpromptiml.apps.web_app").joinpath("compare.css").read_text(encoding="utf-8")
    return environment.get_template(
        "photo.html"
    ).render(
        view=view,
        threshold=threshold,
        student=student,
        styles=Markup(styles),  # trusted
        compare=Markup(markup.compare(view.picture, view.overlay_uri(threshold), view.caption())),  # already escaped
        share=float(mask.mean()),
        pixels=mask.size,
        regions=regions[:LISTED],
        more=max(0, len(regions) - LISTED),
        version=__version__,
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )

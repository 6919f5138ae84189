"""One page about a photo, to keep or to send: it needs no other file and no network."""

from __future__ import annotations

import datetime
from importlib import resources

import jinja2
from markupsafe import Markup

from boxpromptiml import __version__
from boxpromptiml.apps.web_app import markup
from boxpromptiml.apps.web_app.localized_photo import LocalizedPhoto, regions_of
from boxpromptiml.apps.web_app.student_facts import StudentFacts

LISTED = 40
"""Regions that are listed."""


def photo_page(view: LocalizedPhoto, threshold: float, student: StudentFacts) -> str:
    """The page as HTML: the answer over the photo, regions, facts of the file, which student, and what it cannot see.

    Args:
        view: the photo as the student saw it.
        threshold: above which pixels count as manipulated; it need not be the student's own.
        student: who saw it.
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
        styles=Markup(styles),  # ours
        compare=Markup(markup.compare(view.picture, view.answer(threshold), view.caption())),  # escapes by itself
        share=float(mask.mean()),
        pixels=mask.size,
        regions=regions[:LISTED],
        more=max(0, len(regions) - LISTED),
        version=__version__,
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )

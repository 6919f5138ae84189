"""Content of the W&B workspace view."""

from boxpromptiml.apps.wandb_workspace.view import CURVES, build, described


def test_it_is_deterministic():
    one, two = (described(build("p", "e", "n")) for _ in range(2))
    assert one == two


def test_every_curve_has_a_panel_in_its_section():
    view = described(build("mine", "us", "curves"))
    titles = {section["name"]: {panel.get("title") for panel in section["panels"]} for section in view["sections"]}
    assert all(set(curves) <= titles[section] for section, curves in CURVES.items())
    assert (view["project"], view["entity"], view["name"]) == ("mine", "us", "curves")

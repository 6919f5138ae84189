"""Properties of every layout."""

from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets import layouts
from boxpromptiml.datasets.layouts import LAYOUTS, LayoutName, find_in

GENERIC = {"folders", "tp_gt", "imdlbenco"}
FILES = {path.stem for path in Path(layouts.__file__).parent.glob("*.py")} - {"__init__"}


def test_every_layout_has_the_name_of_its_module():
    assert set(LAYOUTS) == set(get_args(LayoutName)) == FILES
    assert all(module.__name__.rpartition(".")[2] == name for name, module in LAYOUTS.items())


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_layout_documents_its_folders_and_its_source(name):
    text = LAYOUTS[name].__doc__
    assert "\n    " in text, "the folder tree"
    if name not in GENERIC:
        assert "Source: " in text
        assert "Terms: " in text
        assert "http" in text


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_set_is_named_in_one_line(name, empty, tmp_path):
    root = tmp_path / "raw"
    if empty:
        root.mkdir()
    with pytest.raises(InputError, match=r"raw") as caught:
        find_in(name, root)
    assert "\n" not in str(caught.value)


def test_listing_decodes_no_image(tree, monkeypatch):
    for name in ("Tp/a.jpg", "Gt/a.png", "Au/b.jpg"):
        (tree.root / name).parent.mkdir(exist_ok=True)
        (tree.root / name).touch()
    monkeypatch.setattr(Image, "open", None)
    assert len(find_in("tp_gt", tree.root).images) == 2


def test_the_papers_counts_add_up():
    assert sum(layout.EXPECTED.train or 0 for layout in LAYOUTS.values()) == 5737
    for layout in LAYOUTS.values():
        expected = layout.EXPECTED
        if expected.train and expected.test:
            assert expected.train + expected.test == expected.manipulated

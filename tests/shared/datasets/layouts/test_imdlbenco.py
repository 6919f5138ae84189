import json

import pytest

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layouts import imdlbenco


def test_pairs_are_read_from_the_list_and_only_inside_its_folder(tree, prepared):
    tree.photos("Tp/a.jpg", "Tp/b.jpg", "Au/x.jpg", "../outside.jpg")
    tree.masks("Gt/a_gt.png", "Gt/of b.png")
    root = tree.root
    pairs = [
        [str(root / "Tp/a.jpg"), str(root / "Gt/a_gt.png")],
        ["Tp/b.jpg", "Gt/of b.png"],
        ["Au/x.jpg", "Negative"],
        ["Tp/b.jpg", "Gt/a_gt.png"],
        ["../outside.jpg", "Negative"],
        ["Tp/a2.jpg", "Gt/a_gt.png"],
        ["Tp/a.jpg", "Gt/nowhere.png"],
    ]
    (root / "list.json").write_text(json.dumps(pairs))
    outcome = prepared("imdlbenco", root / "list.json")
    assert outcome.code == 3
    assert set(outcome.forged) == {"Tp/a.jpg", "Tp/b.jpg"}
    assert outcome.records["Tp/b.jpg"].mask_path.name == "of b.png"
    assert outcome.authentic == {"Au/x.jpg"}
    twice, leaves, gone, maskless = outcome.lines("skipped")
    assert "Tp/b.jpg: listed more than once in list.json" in twice
    assert "../outside.jpg: points outside the folder" in leaves
    assert "a2.jpg: no such file" in gone
    assert "nowhere.png: no such file" in maskless


@pytest.mark.parametrize("content", ["", "[[", '{"a": 1}', '[["only one"]]', '[["a.jpg", null]]'])
def test_another_json_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(InputError, match=r"list\.json: not a list of") as caught:
        imdlbenco.find(tmp_path / "list.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_written_on_windows_is_read(tree, encoding):
    tree.photos("Au/ü.jpg")
    (tree.root / "list.json").write_bytes(json.dumps([["Au/ü.jpg", "Negative"]], ensure_ascii=False).encode(encoding))
    (only,) = imdlbenco.find(tree.root / "list.json").images
    assert only.image.name == "ü.jpg"


def test_a_linked_folder_is_the_folder_it_links_to(tree, prepared, tmp_path):
    tree.photos("Tp/a.jpg")
    tree.masks("Gt/a.png")
    linked = tmp_path / "linked"
    linked.symlink_to(tree.root)
    rows = [[str(linked / "Tp/a.jpg"), str(linked / "Gt/a.png")], [str(tree.root / "Tp/a.jpg"), "Negative"]]
    (tree.root / "list.json").write_text(json.dumps(rows))
    outcome = prepared("imdlbenco", tree.root / "list.json")
    assert set(outcome.forged) == {"Tp/a.jpg"}
    assert "listed more than once" in outcome.lines("skipped")[0]

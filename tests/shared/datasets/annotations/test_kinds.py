"""Faults in annotations, each through every reader.

Each row is a kind of fault and each column a reader. A cell holds the expected outcome: ``READ`` if both photos are
read with their boxes, part of the message that refuses the set or one photo, or ``Never`` with the reason why the fault
cannot occur in that format. A missing cell fails the test.
"""

import pytest
from drawn_sets import BOX, READERS, SIZE, Annotations, read_with, written

from boxpromptiml.cli import main

READ = "read"


class Never(str):
    """Reason why a fault cannot occur with a reader."""


def every(outcome, **others):
    """A row: one outcome for all readers, except those given by name."""
    return {reader: others.get(reader, outcome) for reader in READERS}


def scaled(*factors):
    return tuple(value * factor for value, factor in zip(BOX, factors, strict=True))


PLAIN = Annotations()
OPENED = "use a path relative to it"
IN_PIXELS = Never("its numbers are shares")
FULL = ("forged", BOX)
BOTH = {name: [pytest.approx(BOX)] for name in ("a.jpg", "b.jpg")}
PAIRS = [("forged", BOX), ("face", (50, 50, 70, 70))]

KINDS = {
    "nothing wrong": (PLAIN, every(READ)),
    "byte-order mark": (PLAIN.replaced(encoding="utf-8-sig"), every(READ)),
    "UTF-16": (PLAIN.replaced(encoding="utf-16"), every(READ)),
    "nulls": (PLAIN.replaced(nulls=True), every(READ)),
    "ids as texts": (PLAIN.replaced(texts=True), every(READ)),
    "several labels": (
        PLAIN.replaced(boxes=(PAIRS, [FULL])),
        every("its boxes have 2 labels, forged (2), face (1)"),
    ),
    "a label that says the contrary": (
        PLAIN.replaced(boxes=([("Authentic", BOX)], [])),
        every("all its boxes are labelled 'Authentic'"),
    ),
    "shares of the image": (
        PLAIN.replaced(boxes=([("forged", scaled(0.01, 1 / 80, 0.01, 1 / 80))],) * 2),
        every("--units shares", label_studio=IN_PIXELS, json_min=IN_PIXELS, yolo=IN_PIXELS),
    ),
    "shares of one image": (
        PLAIN.replaced(boxes=([("forged", scaled(0.01, 1 / 80, 0.01, 1 / 80))], [FULL])),
        every("smaller than a pixel (0.295×0.494"),
    ),
    "pixels instead of shares": (
        PLAIN.replaced(boxes=([("forged", scaled(100, 80, 100, 80))], [FULL])),
        every("outside the image", yolo="is not a share of the image"),
    ),
    "two corners as x y width height": (
        PLAIN.replaced(boxes=([("forged", (50, 40, 140, 110))], [("forged", (60, 30, 130, 90))])),
        every(
            "all of them fit as x1 y1 x2 y2",
            label_studio=Never("its numbers are called width and height"),
            json_min=Never("its numbers are called width and height"),
            yolo=Never("its numbers are a centre and sides"),
            voc=Never("its numbers are called xmin to ymax"),
        ),
    ),
    "nothing is labelled": (
        PLAIN.replaced(boxes=([], [])),
        every("none of its 2 images has a box", into="it has no box any more"),
    ),
    "one image is not labelled": (
        PLAIN.replaced(boxes=([FULL], [])),
        every("it has no box", yolo=Never("an empty label file beside others says authentic")),
    ),
    "rotated": (
        PLAIN.replaced(rotation=12.5),
        every("rotated", voc="no bndbox with four numbers", yolo=Never("oriented boxes are four corners")),
    ),
    "a number that is none": (
        PLAIN.replaced(boxes=([("forged", (float("nan"), 20, 40, 60))], [FULL])),
        every("is not a number", yolo="nan is not a share"),
    ),
    "a reversed box": (
        PLAIN.replaced(boxes=([("forged", (40, 20, 10, 60))], [FULL])),
        every("a reversed box", yolo="is not a share"),
    ),
    "drawn on another size": (
        PLAIN.replaced(size=(200, 160)),
        every("drawn on 200×160", manifest=Never("it opens no image; check does"), yolo=Never("it gives no size")),
    ),
    "sides swapped": (
        PLAIN.replaced(size=SIZE[::-1]),
        every("swapped", manifest=Never("it opens no image; check does"), yolo=Never("it gives no size")),
    ),
    "one image twice": (
        PLAIN.replaced(twice=True),
        every(
            "2 entries refer to this image",
            manifest=Never("two entries may be two samples; check names the file"),
            yolo=Never("its list names a file once more"),
            json_min="2 entries refer to this image",
        ),
    ),
    "a name with a drive": (PLAIN.replaced(names=("D:\\set\\images\\a.jpg", "b.jpg")), every(READ, manifest=OPENED)),
    "a drive without a folder": (PLAIN.replaced(names=("D:a.jpg", "b.jpg")), every(READ, manifest=OPENED)),
    "back-slashes that lead out": (
        PLAIN.replaced(names=("..\\..\\media\\upload\\4\\cb0618f6-a.jpg", "b.jpg")),
        every(READ, manifest=OPENED),
    ),
    "a path of another machine": (PLAIN.replaced(names=("/home/x/set/a.jpg", "b.jpg")), every(READ, manifest=OPENED)),
    "dots": (PLAIN.replaced(names=("../../a.jpg", "./b.jpg")), every(READ, manifest=OPENED)),
    "an address": (PLAIN.replaced(names=("https://host/set/a.jpg", "b.jpg")), every(READ, manifest=OPENED)),
    "an address with a query": (
        PLAIN.replaced(names=("https://host:8080/x/a.jpg?X-Amz-Date=5&n=b.jpg", "b.jpg")),
        every(READ, manifest=OPENED),
    ),
    "local storage": (
        PLAIN.replaced(names=("/data/local-files/?d=set/a.jpg", "b.jpg")),
        every(READ, manifest=OPENED),
    ),
    "%-escapes": (
        PLAIN.replaced(names=("%61.jpg", "b%2Ejpg")),
        every(READ, manifest=Never("the file is opened as it is called")),
    ),
    "Roboflow's own name": (
        PLAIN.replaced(names=("a_jpg.rf.5f1c2d3e4a.jpg", "b.jpg")),
        every(READ, manifest=Never("the file is opened as it is called")),
    ),
    "no name": (
        PLAIN.replaced(names=("", "b.jpg")),
        every("has no name", manifest=OPENED, label_studio="task 0", json_min="task 0", voc="no image with that name",
              yolo=Never("an empty line of a list is none")),
    ),
    "a name that nothing has": (
        PLAIN.replaced(names=("gone.jpg", "b.jpg")),
        every("no image with that name", manifest=Never("it opens no image; check does")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_cell_for_every_reader(kind):
    assert set(KINDS[kind][1]) == set(READERS)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_silently_wrong(tmp_path, capsys, kind, reader):
    drawn, cells = KINDS[kind]
    if isinstance(cells[reader], Never):
        return
    outcome = read_with(reader, tmp_path / "set", drawn, capsys)
    if cells[reader] == READ:
        assert outcome.boxes == BOTH, outcome.output
    else:
        assert cells[reader] in outcome.output
        assert outcome.boxes != BOTH
    assert outcome.authentic == set()


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader != "manifest"])
def test_the_option_named_in_an_ambiguity_error_resolves_it(tmp_path, capsys, reader):
    several = KINDS["several labels"][0]
    outcome = read_with(reader, tmp_path / "labels", several, capsys, labels=["forged"])
    assert outcome.boxes == BOTH
    assert "1 boxes with other labels are ignored: face (1)" in outcome.output
    bare = read_with(reader, tmp_path / "bare", KINDS["nothing is labelled"][0], capsys, unboxed="authentic")
    assert bare.authentic == {"a.jpg", "b.jpg"}
    if reader in ("coco", "into", "voc"):
        shares = read_with(reader, tmp_path / "shares", KINDS["shares of the image"][0], capsys, units="shares")
        assert shares.boxes == BOTH


AMBIGUITIES = ("several labels", "a label that says the contrary", "shares of the image",
               "two corners as x y width height", "nothing is labelled")  # fmt: skip
"""Ambiguities that only the user can resolve."""
COMMANDS = {
    "check": "check --manifest {path}",
    "redraw": "redraw --manifest {path} --out {out}.json",
    "export_boxes": "export_boxes --manifest {path} --format coco --out {out}.json",
    "import_boxes": "import_boxes --format coco --annotations {path} --out {out}.json",
    "into": "import_boxes --format coco --annotations {path} --into {path} --out {out}.json",
    "pseudomasks": "pseudomasks --manifest {path} --out {out} --teacher stage1_pseudomask.teachers.grabcut.GrabCut",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", AMBIGUITIES)
def test_no_command_decides_for_the_user(tmp_path, capsys, kind, command):
    (tmp_path / "images").mkdir()
    path, out = written("manifest", tmp_path, KINDS[kind][0]), tmp_path / "out"
    words = KINDS[kind][1]["manifest"]
    assert main(COMMANDS[command].format(path=path, out=out).split()) == 2
    line = capsys.readouterr().err
    assert words in line
    assert len(line.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["images"]

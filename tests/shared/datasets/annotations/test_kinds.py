"""What goes wrong with drawn boxes, kind by kind, through every door that reads them.

Each row is a kind and each column a door; a cell says what comes of it: ``READ`` both photos with their boxes, words of
the line that refuses the set or one photo, or ``Never`` and why it cannot happen there. A cell that is missing fails.
"""

import pytest
from drawn_sets import BOX, DOORS, SIZE, Drawn, ask, written

from boxpromptiml.cli import main

READ = "read"


class Never(str):
    """Why a kind cannot come through a door."""


def every(answer, **others):
    """A row: one answer for all doors but those that are named."""
    return {door: others.get(door, answer) for door in DOORS}


def scaled(*factors):
    return tuple(value * factor for value, factor in zip(BOX, factors, strict=True))


PLAIN = Drawn()
OPENED = "use a path relative to it"
IN_PIXELS = Never("its numbers are shares")
FULL = ("forged", BOX)
BOTH = {name: [pytest.approx(BOX)] for name in ("a.jpg", "b.jpg")}
PAIRS = [("forged", BOX), ("face", (50, 50, 70, 70))]

KINDS = {
    "nothing wrong": (PLAIN, every(READ)),
    "byte-order mark": (PLAIN.but(encoding="utf-8-sig"), every(READ)),
    "UTF-16": (PLAIN.but(encoding="utf-16"), every(READ)),
    "nulls": (PLAIN.but(nulls=True), every(READ)),
    "ids as texts": (PLAIN.but(texts=True), every(READ)),
    "several labels": (
        PLAIN.but(boxes=(PAIRS, [FULL])),
        every("its boxes have 2 labels, forged (2), face (1)"),
    ),
    "a label that says the contrary": (
        PLAIN.but(boxes=([("Authentic", BOX)], [])),
        every("all its boxes are labelled 'Authentic'"),
    ),
    "shares of the image": (
        PLAIN.but(boxes=([("forged", scaled(0.01, 1 / 80, 0.01, 1 / 80))],) * 2),
        every("--units shares", label_studio=IN_PIXELS, json_min=IN_PIXELS, yolo=IN_PIXELS),
    ),
    "shares of one image": (
        PLAIN.but(boxes=([("forged", scaled(0.01, 1 / 80, 0.01, 1 / 80))], [FULL])),
        every("smaller than a pixel (0.295×0.494"),
    ),
    "pixels instead of shares": (
        PLAIN.but(boxes=([("forged", scaled(100, 80, 100, 80))], [FULL])),
        every("outside the image", yolo="is no share of the image"),
    ),
    "two corners as x y width height": (
        PLAIN.but(boxes=([("forged", (50, 40, 140, 110))], [("forged", (60, 30, 130, 90))])),
        every(
            "all of them fit as x1 y1 x2 y2",
            label_studio=Never("its numbers are called width and height"),
            json_min=Never("its numbers are called width and height"),
            yolo=Never("its numbers are a centre and sides"),
            voc=Never("its numbers are called xmin to ymax"),
        ),
    ),
    "nothing is labelled": (
        PLAIN.but(boxes=([], [])),
        every("none of its 2 images has a box", into="it has no box any more"),
    ),
    "one image is not labelled": (
        PLAIN.but(boxes=([FULL], [])),
        every("it has no box", yolo=Never("an empty label file beside others says authentic")),
    ),
    "rotated": (
        PLAIN.but(rotation=12.5),
        every("rotated", voc="no bndbox of four numbers", yolo=Never("oriented boxes are four corners")),
    ),
    "a number that is none": (
        PLAIN.but(boxes=([("forged", (float("nan"), 20, 40, 60))], [FULL])),
        every("is not a number", yolo="nan is no share"),
    ),
    "a reversed box": (
        PLAIN.but(boxes=([("forged", (40, 20, 10, 60))], [FULL])),
        every("a reversed box", yolo="is no share"),
    ),
    "drawn on another size": (
        PLAIN.but(size=(200, 160)),
        every("drawn on 200×160", manifest=Never("it opens no image; check does"), yolo=Never("it gives no size")),
    ),
    "sides exchanged": (
        PLAIN.but(size=SIZE[::-1]),
        every("exchanged", manifest=Never("it opens no image; check does"), yolo=Never("it gives no size")),
    ),
    "one image twice": (
        PLAIN.but(twice=True),
        every(
            "2 entries are about this image",
            manifest=Never("two entries may be two samples; check names the file"),
            yolo=Never("its list names a file once more"),
            json_min="2 entries are about this image",
        ),
    ),
    "a name with a drive": (PLAIN.but(names=("D:\\set\\images\\a.jpg", "b.jpg")), every(READ, manifest=OPENED)),
    "a drive without a folder": (PLAIN.but(names=("D:a.jpg", "b.jpg")), every(READ, manifest=OPENED)),
    "back-slashes that lead out": (
        PLAIN.but(names=("..\\..\\media\\upload\\4\\cb0618f6-a.jpg", "b.jpg")),
        every(READ, manifest=OPENED),
    ),
    "a path of another machine": (PLAIN.but(names=("/home/x/set/a.jpg", "b.jpg")), every(READ, manifest=OPENED)),
    "dots": (PLAIN.but(names=("../../a.jpg", "./b.jpg")), every(READ, manifest=OPENED)),
    "an address": (PLAIN.but(names=("https://host/set/a.jpg", "b.jpg")), every(READ, manifest=OPENED)),
    "an address with a query": (
        PLAIN.but(names=("https://host:8080/x/a.jpg?X-Amz-Date=5&n=b.jpg", "b.jpg")),
        every(READ, manifest=OPENED),
    ),
    "local storage": (
        PLAIN.but(names=("/data/local-files/?d=set/a.jpg", "b.jpg")),
        every(READ, manifest=OPENED),
    ),
    "%-escapes": (
        PLAIN.but(names=("%61.jpg", "b%2Ejpg")),
        every(READ, manifest=Never("the file is opened as it is called")),
    ),
    "Roboflow's own name": (
        PLAIN.but(names=("a_jpg.rf.5f1c2d3e4a.jpg", "b.jpg")),
        every(READ, manifest=Never("the file is opened as it is called")),
    ),
    "no name": (
        PLAIN.but(names=("", "b.jpg")),
        every("without a name", manifest=OPENED, label_studio="task 0", json_min="task 0", voc="no image of that name",
              yolo=Never("an empty line of a list is none")),
    ),
    "a name that nothing has": (
        PLAIN.but(names=("gone.jpg", "b.jpg")),
        every("no image of that name", manifest=Never("it opens no image; check does")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_cell_for_every_door(kind):
    assert set(KINDS[kind][1]) == set(DOORS)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_silently_wrong(tmp_path, capsys, kind, door):
    drawn, cells = KINDS[kind]
    if isinstance(cells[door], Never):
        return
    answer = ask(door, tmp_path / "set", drawn, capsys)
    if cells[door] == READ:
        assert answer.boxes == BOTH, answer.said
    else:
        assert cells[door] in answer.said
        assert answer.boxes != BOTH
    assert answer.authentic == set()


@pytest.mark.parametrize("door", [door for door in DOORS if door != "manifest"])
def test_the_option_that_a_question_names_answers_it(tmp_path, capsys, door):
    several = KINDS["several labels"][0]
    answer = ask(door, tmp_path / "labels", several, capsys, labels=["forged"])
    assert answer.boxes == BOTH
    assert "1 boxes do not count, of other labels: face (1)" in answer.said
    bare = ask(door, tmp_path / "bare", KINDS["nothing is labelled"][0], capsys, unboxed="authentic")
    assert bare.authentic == {"a.jpg", "b.jpg"}
    if door in ("coco", "into", "voc"):
        shares = ask(door, tmp_path / "shares", KINDS["shares of the image"][0], capsys, units="shares")
        assert shares.boxes == BOTH


ASKED = ("several labels", "a label that says the contrary", "shares of the image", "two corners as x y width height",
         "nothing is labelled")  # fmt: skip
"""Kinds that only the user can settle."""
COMMANDS = {
    "check": "check --manifest {path}",
    "redraw": "redraw --manifest {path} --out {out}.json",
    "export_boxes": "export_boxes --manifest {path} --format coco --out {out}.json",
    "import_boxes": "import_boxes --format coco --annotations {path} --out {out}.json",
    "into": "import_boxes --format coco --annotations {path} --into {path} --out {out}.json",
    "pseudomasks": "pseudomasks --manifest {path} --out {out} --teacher stage1_pseudomask.teachers.grabcut.GrabCut",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ASKED)
def test_no_command_answers_for_the_user(tmp_path, capsys, kind, command):
    (tmp_path / "images").mkdir()
    path, out = written("manifest", tmp_path, KINDS[kind][0]), tmp_path / "out"
    words = KINDS[kind][1]["manifest"]
    assert main(COMMANDS[command].format(path=path, out=out).split()) == 2
    line = capsys.readouterr().err
    assert words in line
    assert len(line.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["images"]

import pytest

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.layouts import nist16

COLUMNS = (
    "TaskID|ProbeFileID|ProbeFileName|ProbeMaskFileName|IsTarget|IsManipulationTypeRemoval|IsManipulationTypeSplice"
    "|IsManipulationTypeCopyClone|BaseFileName"
)


def rows(*lines):
    return "\n".join([COLUMNS, *lines]) + "\n"


@pytest.fixture
def table(tree):
    path = tree.root / "NC2016_Test0613" / nist16.TABLE
    path.parent.mkdir(parents=True)
    path.write_text(
        rows(
            "manipulation|1|probe/NC2016_1.jpg|reference/manipulation/mask/NC2016_91.png|Y|N|Y|N|world/NC2016_5.jpg",
            "manipulation|2|probe/NC2016_2.jpg|reference/manipulation/mask/NC2016_91.png|Y|N|Y|N|world/NC2016_5.jpg",
            "manipulation|3|probe/NC2016_3.jpg|reference/manipulation/mask/NC2016_93.png|Y|Y|N|N|world/NC2016_6.jpg",
            "manipulation|4|probe/NC2016_4.jpg||N||||world/NC2016_6.jpg",
            "manipulation|1|probe/NC2016_1.jpg|reference/manipulation/mask/NC2016_93.png|Y|N|Y|N|world/NC2016_5.jpg",
            "manipulation|5|probe/NC2016_5.jpg||Y|N|N|Y|world/NC2016_7.jpg",
            "manipulation|6|probe/NC2016_6.jpg|reference/manipulation/mask/NC2016_96.png|Y|N|N|Y|world/NC2016_7.jpg",
            "manipulation|7|probe/../../../secret.jpg||N||||",
        )
    )
    tree.photos(*(f"NC2016_Test0613/probe/NC2016_{i}.jpg" for i in (1, 2, 3, 4, 5, 6)))
    tree.photos("NC2016_Test0613/world/NC2016_5.jpg", "../secret.jpg")
    for number in (91, 93):
        name = f"NC2016_Test0613/reference/manipulation/mask/NC2016_{number}.png"
        tree.masks(name, marked=(0, 0, 0), rest=(255, 255, 255))
    return path


def test_the_table_pairs_images_with_masks_and_black_is_manipulated(tree, table, prepared, groups):
    outcome = prepared("nist16")
    assert {name[-12:]: record.kind for name, record in outcome.forged.items()} == {
        "NC2016_1.jpg": "splice",
        "NC2016_2.jpg": "splice",
        "NC2016_3.jpg": "removal",
    }
    assert outcome.authentic == {"NC2016_Test0613/probe/NC2016_4.jpg"}
    duplicate, maskless, gone, outside = outcome.lines("skipped")
    assert "NC2016_1.jpg: listed more than once" in duplicate
    assert "NC2016_5.jpg: manipulated, but NC2016-manipulation-ref.csv lists no mask" in maskless
    assert "NC2016_96.png: no such file" in gone
    assert "secret.jpg: points outside" in outside
    assert outcome.code == 3
    found = groups(nist16.find(tree.root))
    assert found["NC2016_1.jpg"] == found["NC2016_2.jpg"] == "NC2016_5"
    assert found["NC2016_3.jpg"] == found["NC2016_4.jpg"] == "NC2016_6"


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("TRUE", "FALSE"), ("1", "0"), (" y ", "n")])
def test_booleans_as_a_spreadsheet_saves_them(tree, table, prepared, yes, no):
    text = table.read_text().replace("|Y", f"|{yes}").replace("|N|", f"|{no}|").replace("|N|", f"|{no}|")
    table.write_text(text)
    outcome = prepared("nist16")
    assert [record.kind for record in outcome.forged.values()] == ["splice", "splice", "removal"]
    assert len(outcome.authentic) == 1


def test_an_invalid_boolean_does_not_count_as_authentic(tree, table, prepared):
    table.write_text(table.read_text().replace("|N||||", "|?||||"))
    outcome = prepared("nist16")
    assert outcome.authentic == set()
    assert any("NC2016_4.jpg: NC2016-manipulation-ref.csv says '?' for IsTarget" in line for line in outcome.output)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a|b\n1|2\n", COLUMNS.encode()])
def test_a_broken_table_is_refused_in_one_line(tree, table, content):
    table.write_bytes(content)
    with pytest.raises(InputError, match=r"NC2016-manipulation-ref\.csv: .*restore it") as caught:
        nist16.find(tree.root)
    assert "\n" not in str(caught.value)

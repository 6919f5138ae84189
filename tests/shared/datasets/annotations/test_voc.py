from xml.etree import ElementTree

import pytest

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.annotations.drawn import AnnotationError
from boxpromptiml.datasets.annotations.voc import read, write

VOC2007 = """<annotation>
	<folder>VOC2007</folder>
	<filename>000001.jpg</filename>
	<source>
		<database>The VOC2007 Database</database>
		<annotation>PASCAL VOC2007</annotation>
		<image>flickr</image>
		<flickrid>341012865</flickrid>
	</source>
	<size>
		<width>353</width>
		<height>500</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
	<object>
		<name>dog</name>
		<pose>Left</pose>
		<truncated>1</truncated>
		<difficult>0</difficult>
		<bndbox>
			<xmin>48</xmin>
			<ymin>240</ymin>
			<xmax>195</xmax>
			<ymax>371</ymax>
		</bndbox>
		<part>
			<name>head</name>
			<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>
		</part>
	</object>
	<object>
		<name>person</name>
		<bndbox>
			<xmin>8</xmin>
			<ymin>12</ymin>
			<xmax>352</xmax>
			<ymax>498</ymax>
		</bndbox>
	</object>
</annotation>
"""
CVAT = """<annotation><folder></folder><filename>day 1/a.png</filename><source><database>Unknown</database>
<annotation>Unknown</annotation><image>Unknown</image></source><size><width>640</width><height>480</height><depth></depth>
</size><segmented>0</segmented><object><name>forged</name><truncated>0</truncated><occluded>0</occluded><difficult>0
</difficult><bndbox><xmin>10.5</xmin><ymin>20.0</ymin><xmax>30.25</xmax><ymax>60</ymax></bndbox><attributes><attribute>
<name>rotation</name><value>0.0</value></attribute></attributes></object></annotation>"""
BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><annotation>&y;</annotation>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'


def saved(folder, **files):
    for name, text in files.items():
        path = folder / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def boxed(xmin, ymin, xmax, ymax, name="forged"):
    box = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<annotation><object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"


def test_the_devkit_counts_pixels_from_one(tmp_path):
    saved(tmp_path / "Annotations", **{"000001": VOC2007})
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("000001\n000002\n")
    (tmp_path / "ImageSets" / "Main" / "dog_val.txt").write_text("000001  1\n")
    for path in (tmp_path, tmp_path / "Annotations"):
        drawings = read(path)
        assert drawings.folder == tmp_path / "JPEGImages"
        (only,) = drawings.images
        assert (only.names, only.size, only.split) == (("000001.*", "000001.jpg"), (353, 500), "val")
        assert [(box.labels, box.corners) for box in only.boxes] == [
            (("dog",), (47, 239, 195, 371)),
            (("person",), (7, 11, 352, 498)),
        ]


def test_numbers_with_a_point_are_edges_counted_from_zero_as_cvat_writes_them(tmp_path):
    (only,) = read(saved(tmp_path, **{"day 1/a": CVAT})).images
    assert (only.names, only.size) == (("day 1/a.*", "a.png"), (640, 480))
    assert only.boxes[0].corners == (10.5, 20, 30.25, 60)


def test_a_file_beside_its_image_and_an_image_in_two_splits(tmp_path):
    saved(tmp_path, a=boxed(1, 1, 5, 5), b=boxed(1, 1, 5, 5))
    assert [image.names for image in read(tmp_path / "b.xml").images] == [("b.*",)]
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for split in ("val", "test"):
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text("a\n")
    assert [image.split for image in read(tmp_path).images] == ["val", None]


def test_a_foreign_path_in_filename_is_not_followed(tmp_path):
    text = boxed(1, 1, 5, 5).replace("<object>", "<filename>C:\\photos\\..\\old.jpg</filename><object>")
    assert read(saved(tmp_path, a=text)).images[0].names == ("a.*", "old.jpg")


@pytest.mark.parametrize("text", [BOMB, OUTSIDE])
def test_xml_entities_are_refused(tmp_path, text):
    (only,) = read(saved(tmp_path, a=text)).images
    assert only.defect == f"{tmp_path / 'a.xml'}: declares XML entities, which are not allowed; export it again"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>\n<object>\n</annotation>", "mismatched tag: line 3, column 2"),
        ("", "no element found: line 1"),
        ("<annotations><image/></annotations>", "contains <annotations> instead of a VOC <annotation>"),
        ('<?xml version="1.0" encoding="utf-32"?><annotation/>', "not valid XML"),
    ],
)
def test_a_broken_file_costs_one_image(tmp_path, text, words):
    broken, good = read(saved(tmp_path, a=text, b=boxed(1, 1, 5, 5))).images
    assert words in broken.defect
    assert "\n" not in broken.defect
    assert good.defect is None


def test_objects_without_four_numbers_are_named(tmp_path):
    for text in (boxed(1, "", 5, 5), boxed(1, "two", 5, 5), "<annotation><object/></annotation>"):
        (only,) = read(saved(tmp_path, a=text)).images
        assert "a.xml object 1: no bndbox with four numbers" in only.boxes[0].corners


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(AnnotationError, match="gone: no such folder"):
        read(tmp_path / "gone")


def test_written_files_follow_the_devkit(tmp_path, pictured):
    root = pictured(tmp_path / "set", "Tp/a.jpg", "b.png")
    records = [
        ImageRecord(1, root / "Tp" / "a.jpg", 100, 80, as_boxes([(0, 9, 100, 80), (1.5, 2, 30, 40)]), "test", "s"),
        ImageRecord(2, root / "b.png", 100, 80, as_boxes([]), "train", "s", authentic=True),
        ImageRecord(3, root / "gone.png", 100, 80, as_boxes([]), "train", "s", authentic=True),
    ]
    (missing,) = write(tmp_path / "voc", records, root, "forged", copy_images=False)
    assert missing.startswith(f"{root / 'gone.png'}: no such file")
    tree = ElementTree.parse(tmp_path / "voc" / "Annotations" / "Tp" / "a.xml").getroot()
    assert [tree.findtext(f"size/{side}") for side in ("width", "height", "depth")] == ["100", "80", "3"]
    assert [[side.text for side in box] for box in tree.iter("bndbox")] == [
        ["1", "10", "100", "80"],
        ["1.5", "2.0", "30.0", "40.0"],
    ]
    assert [entry.findtext("name") for entry in tree.findall("object")] == ["forged", "forged"]
    assert (tmp_path / "voc" / "JPEGImages" / "Tp" / "a.jpg").resolve() == (root / "Tp" / "a.jpg").resolve()
    assert (tmp_path / "voc" / "ImageSets" / "Main" / "test.txt").read_text() == "Tp/a\n"
    assert not list((tmp_path / "voc").rglob("gone*"))

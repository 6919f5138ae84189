import gc
import json
import os
from contextlib import redirect_stdout
from io import StringIO
from ntpath import splitdrive
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.manifests.manifest import ManifestError, read_manifest, write_manifest

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}
BOX = {"id": 1, "image_id": 1, "bbox": [10, 20, 30, 40], "category_id": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples of a property."""
    return tmp_path_factory.mktemp("manifest")


def saved(folder, images=(IMAGE,), annotations=(BOX,), **more):
    path = folder / "manifest.json"
    path.write_text(json.dumps({"images": list(images), "annotations": list(annotations), **more}))
    return path


def record(path, image_id=1, rows=((1, 2, 30, 40),), **more):
    given_values = {"width": 100, "height": 80, "split": "val", "source": "set", "authentic": not rows}
    return ImageRecord(image_id=image_id, path=path, boxes_xyxy=as_boxes(rows), **{**given_values, **more})


def test_a_written_manifest_is_read_back(tmp_path):
    records = [
        record(tmp_path / "images" / "ü 1.png", 7, ((0, 0, 50.25, 20), (60, 30, 100, 80)), kind="splice"),
        record(tmp_path / "images" / "2.png", 3, (), split="train"),
        record(tmp_path / "3.tif", 9, mask_path=tmp_path / "masks" / "3.png"),
    ]
    write_manifest(tmp_path / "manifest.json", records, description="three")
    manifest = read_manifest(tmp_path / "manifest.json")
    assert manifest.set_aside == []
    for before, after in zip(records, manifest.records, strict=True):
        np.testing.assert_allclose(after.boxes_xyxy, before.boxes_xyxy)
        for name in ("image_id", "path", "width", "height", "split", "source", "mask_path", "authentic", "kind"):
            assert getattr(after, name) == getattr(before, name), name


@given(st.lists(st.tuples(*[st.integers(0, 39)] * 2, *[st.integers(40, 80)] * 2), min_size=1, max_size=5))
def test_boxes_survive_the_round_trip_through_coco(folder, rows):
    write_manifest(folder / "manifest.json", [record(folder / "a.png", rows=rows)])
    np.testing.assert_array_equal(read_manifest(folder / "manifest.json").records[0].boxes_xyxy, rows)


def test_pycocotools_reads_a_written_manifest(tmp_path):
    from pycocotools.coco import COCO

    records = [record(tmp_path / "a.png", 1, ((1, 2, 30, 40), (50, 50, 60, 70))), record(tmp_path / "b.png", 2, ())]
    write_manifest(tmp_path / "manifest.json", records)
    with redirect_stdout(StringIO()):
        coco = COCO(str(tmp_path / "manifest.json"))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["a.png", "b.png"]
    assert coco.loadCats(coco.getCatIds())[0]["name"] == "manipulated"
    assert [a["bbox"] for a in coco.loadAnns(coco.getAnnIds(imgIds=1))] == [[1, 2, 29, 38], [50, 50, 10, 20]]
    assert [a["area"] for a in coco.loadAnns(coco.getAnnIds(imgIds=1))] == [29 * 38, 200]
    assert coco.getAnnIds(imgIds=2) == []


def test_exports_of_annotation_tools_are_read(tmp_path):
    """CVAT and Label Studio add licences, categories, attributes and segmentations."""
    path = saved(
        tmp_path,
        [IMAGE | {"license": 0, "flickr_url": "", "date_captured": 0}],
        [BOX | {"segmentation": [], "attributes": {"occluded": False}, "area": 1200.0, "iscrowd": 0, "category_id": 5}],
        info={"year": "2026", "contributor": ""},
        licenses=[{"name": "", "id": 0, "url": ""}],
        categories=[{"id": 5, "name": "forged", "supercategory": ""}],
    )
    (only,) = read_manifest(path).records
    assert only.boxes_xyxy.tolist() == [[10, 20, 40, 60]]
    assert (only.split, only.authentic, only.mask_path) == ("train", False, None)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_other_encodings_and_nulls_are_read(tmp_path, encoding):
    image = IMAGE | {"split": None, "source": None, "mask_file": None, "authentic": None, "kind": None, "license": None}
    content = {"info": None, "licenses": None, "categories": None, "images": [image], "annotations": [BOX]}
    (tmp_path / "manifest.json").write_bytes(json.dumps(content).encode(encoding))
    (only,) = read_manifest(tmp_path / "manifest.json").records
    assert (only.split, only.source, only.mask_path, only.authentic, only.kind) == ("train", "", None, False, None)


def test_file_names_are_relative_to_the_given_root(tmp_path):
    images = tmp_path / "set" / "images"
    images.mkdir(parents=True)
    write_manifest(tmp_path / "lists" / "test.json", [record(images / "a.png")], root=tmp_path / "set")
    content = json.loads((tmp_path / "lists" / "test.json").read_text())
    assert content["images"][0]["file_name"] == "images/a.png"
    manifest = read_manifest(tmp_path / "lists" / "test.json")
    assert manifest.records[0].path.resolve() == images / "a.png"
    assert manifest.root.resolve() == tmp_path / "set"


def test_files_outside_the_root_are_not_written(tmp_path):
    with pytest.raises(ManifestError, match="lies outside"):
        write_manifest(tmp_path / "set" / "manifest.json", [record(tmp_path / "a.png")])
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("name", ["C:x.png", "..\\x.png", "\\x.png", os.fsdecode(b"x\xff.png")])
def test_a_name_that_could_not_be_read_back_is_not_written(tmp_path, name):
    with pytest.raises(ManifestError, match="this name cannot be stored in a manifest; rename the file"):
        write_manifest(tmp_path / "manifest.json", [record(tmp_path / name)])
    assert list(tmp_path.iterdir()) == []


def test_links_are_followed(tmp_path):
    """A missing file is written too, since no file is opened."""
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/images/a.png").touch()
    (tmp_path / "set/linked").symlink_to(tmp_path / "set/images")
    (tmp_path / "set/b.png").symlink_to(tmp_path / "set/images/a.png")
    paths = [tmp_path / "set" / name for name in ("linked/a.png", "b.png", "linked/missing.png", "c.png")]
    write_manifest(tmp_path / "set/manifest.json", [record(path, i) for i, path in enumerate(paths)])
    content = json.loads((tmp_path / "set/manifest.json").read_text())
    names = ["images/a.png", "images/a.png", "images/missing.png", "c.png"]
    assert [image["file_name"] for image in content["images"]] == names
    (tmp_path / "a.png").touch()
    (tmp_path / "set/out.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(ManifestError, match="lies outside"):
        write_manifest(tmp_path / "set/manifest.json", [record(tmp_path / "set/out.png")])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not COCO"),
        (b'{"images": [', "not COCO"),
        (b"[]", "not COCO"),
        (b"\xff\xfe\x00", "not COCO"),
        (b'{"images": []}', "annotations"),
        (b'{"images": [{"id": 1, "file_name": "a", "width": "wide", "height": 1}], "annotations": []}', "[0].width"),
        (b'{"images": [], "annotations": [{"id": 1, "image_id": 1, "bbox": [1, "2", 3, 4]}]}', "[0].bbox"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_names_the_place(tmp_path, content, words):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    assert words in line


def test_a_missing_manifest_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="no such manifest"):
        read_manifest(tmp_path / "manifest.json")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(tmp_path)


def test_inconsistent_ids_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="id 1 more than once"):
        read_manifest(saved(tmp_path, [IMAGE, IMAGE | {"file_name": "b.jpg"}]))
    with pytest.raises(ManifestError, match="belongs to image 8"):
        read_manifest(saved(tmp_path, annotations=[BOX | {"image_id": 8}]))


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "x/../../a.jpg", "/etc/passwd", "", "..\\a.jpg", "\\\\host\\a.jpg", "C:\\a.jpg", "a\0.jpg"],
)
@pytest.mark.parametrize("field", ["file_name", "mask_file"])
def test_names_that_leave_the_folder_are_set_aside(tmp_path, name, field):
    manifest = read_manifest(saved(tmp_path, [IMAGE | {field: name}]))
    assert manifest.records == []
    (aside,) = manifest.set_aside
    assert aside.image_id == 1
    assert "leaves the data folder" in aside.reason


@given(st.text(r"./\\:ab" + "\0", max_size=8))
def test_name_checks_agree_with_pathlib(folder, name):
    plain = PurePosixPath(name.replace("\\", "/"))
    leaves = not plain.parts or plain.is_absolute() or ".." in plain.parts or "\0" in name
    leaves |= bool(splitdrive(name)[0]) or "://" in name
    manifest = read_manifest(saved(folder, [IMAGE | {"file_name": name}]))
    assert bool(manifest.set_aside) == leaves


@given(st.lists(st.integers(0, 4), max_size=12))
def test_boxes_are_grouped_by_image_in_file_order(folder, owners):
    images = [IMAGE | {"id": 50 - i, "file_name": f"{i}.jpg", "authentic": i not in owners} for i in range(5)]
    boxes = [{"id": n, "image_id": 50 - i, "bbox": [n, i, 10, 10]} for n, i in enumerate(owners)]
    manifest = read_manifest(saved(folder, images, boxes))
    assert manifest.set_aside == []
    for i, found in enumerate(manifest.records):
        assert found.boxes_xyxy.tolist() == [[n, i, n + 10, i + 10] for n, owner in enumerate(owners) if owner == i]


def test_garbage_collection_is_enabled_again_after_reading(tmp_path):
    read_manifest(saved(tmp_path))
    assert gc.isenabled()
    with pytest.raises(ManifestError):
        read_manifest(tmp_path / "missing.json")
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("image", "boxes", "words"),
    [
        ({}, [[100, 10, 5, 5]], "outside the image"),
        ({}, [[30, 30, -5, 5]], "reversed"),
        ({}, [[30, 30, 0, 5]], "without area"),
        ({}, [[1, 1, 5, 5], [30, 30, 5, 0]], "without area"),
        ({}, [[30, 30, 5, 0], [30, 30, -5, 5]], "without area"),  # the first invalid box is named
        ({}, [[1e39, 1, 5, 5]], "not a number"),
        ({}, [], "no box"),
        ({"authentic": True}, [[1, 1, 5, 5]], "marked authentic"),
        ({"width": 0}, [[1, 1, 5, 5]], "0×80"),
        ({"height": -3}, [[1, 1, 5, 5]], "100×-3"),
        ({"width": float("nan")}, [[1, 1, 5, 5]], "nan×80"),
        ({"width": 99.5}, [[1, 1, 5, 5]], "99.5×80"),
        ({"width": None}, [[1, 1, 5, 5]], "its size is missing"),
        ({}, [[1, 2, 3]], "annotation 0 has a bbox of 3 numbers"),
        ({}, [[0.2, 0.3, 0.5, 0.25]], "smaller than a pixel (0.5×0.25"),
        ({"split": "train2017"}, [[1, 1, 5, 5]], "its split is 'train2017'"),
        ({"authentic": "no"}, [[1, 1, 5, 5]], "its authentic is 'no'"),
        ({"mask_file": 7}, [[1, 1, 5, 5]], "the file name 7"),
        ({"authentic": 1}, [], "its authentic is 1"),
        ({"source": 2021}, [[1, 1, 5, 5]], "its source is 2021"),
        ({"kind": ["splice"]}, [[1, 1, 5, 5]], "its kind is ['splice']"),
        ({"kind": "authentic"}, [[1, 1, 5, 5]], "its kind is authentic"),
        ({}, [[1, 1, 5, 5], [0.02, 0.03, 0.96, 0.95]], "smaller than a pixel"),  # of the image in shares
    ],
)
def test_one_bad_image_is_set_aside_and_the_others_stay(tmp_path, image, boxes, words):
    good = IMAGE | {"id": 2, "file_name": "b.jpg"}
    annotations = [{"id": i, "image_id": 1, "bbox": box} for i, box in enumerate(boxes)]
    manifest = read_manifest(saved(tmp_path, [IMAGE | image, good], [*annotations, BOX | {"id": 9, "image_id": 2}]))
    assert [r.image_id for r in manifest.records] == [2]
    (aside,) = manifest.set_aside
    assert (aside.image_id, aside.file) == (1, "a.jpg")
    assert words in aside.reason


def test_a_box_over_the_border_is_clipped(tmp_path):
    manifest = read_manifest(saved(tmp_path, annotations=[BOX | {"bbox": [-10, 70, 50, 50]}]))
    assert manifest.records[0].boxes_xyxy.tolist() == [[0, 70, 40, 80]]


def test_an_authentic_image_must_not_have_a_box(tmp_path):
    (only,) = read_manifest(saved(tmp_path, [IMAGE | {"authentic": True}], [])).records
    assert only.authentic
    assert only.boxes_xyxy.shape == (0, 4)


def test_the_first_pixel_is_a_box(tmp_path):
    boxes = [BOX, BOX | {"id": 2, "bbox": [0, 0, 1, 1]}]
    assert len(read_manifest(saved(tmp_path, annotations=boxes)).records[0].boxes_xyxy) == 2


def test_a_folder_of_images_that_is_no_text_is_refused(tmp_path):
    path = saved(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"info": {"image_root": ["photos"]}}))
    with pytest.raises(ManifestError, match=r"info\.image_root is \['photos'\]"):
        read_manifest(path)

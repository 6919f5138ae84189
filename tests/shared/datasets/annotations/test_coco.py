import json
from contextlib import redirect_stdout
from io import StringIO

import pytest
from pycocotools.coco import COCO

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.annotations.coco import exported, read
from boxpromptiml.datasets.annotations.drawn import AnnotationError

CVAT = """{"licenses":[{"name":"","id":0,"url":""}],
"info":{"contributor":"","date_created":"","description":"","url":"","version":"","year":""},
"categories":[{"id":1,"name":"splice","supercategory":""},{"id":2,"name":"face","supercategory":""}],
"images":[{"id":1,"width":1046,"height":940,"file_name":"day 1/a.jpg","license":0,"flickr_url":"","coco_url":"",
"date_captured":0},{"id":2,"width":640,"height":480,"file_name":"b.png","license":0,"flickr_url":"","coco_url":"",
"date_captured":0}],
"annotations":[{"id":1,"image_id":1,"category_id":1,"segmentation":[],"area":99723.0264,
"bbox":[283.44,267.61,294.96,338.09],"iscrowd":0,"attributes":{"occluded":false,"rotation":0.0}},
{"id":2,"image_id":1,"category_id":2,"segmentation":[[10.5,20.0,30.0,20.0,30.0,60.25]],"area":400.0,
"bbox":[10.5,20.0,19.5,40.25],"iscrowd":0,"attributes":{"occluded":true}}]}"""
"""A file exported by CVAT as COCO 1.0."""


def written(folder, annotations, images=({"id": 1, "file_name": "a.jpg"},), **more):
    path = folder / "boxes.json"
    path.write_text(json.dumps({"images": list(images), "annotations": list(annotations), **more}))
    return path


def test_a_cvat_export_is_read(tmp_path):
    path = tmp_path / "instances_default.json"
    path.write_text(CVAT)
    drawings = read(path)
    assert drawings.folder == tmp_path
    assert drawings.problems == []
    first, second = drawings.images
    assert (first.names, first.size, first.image_id) == (("day 1/a.jpg",), (1046, 940), 1)
    assert [box.labels for box in first.boxes] == [("splice",), ("face",)]
    assert first.boxes[0].corners == pytest.approx((283.44, 267.61, 578.4, 605.7))
    assert first.boxes[1].corners == (10.5, 20, 30, 60.25)
    assert (second.boxes, second.shares, second.authentic, second.split) == ([], False, False, None)


def test_incomplete_files_are_read(tmp_path):
    """Files without size, area or categories, with ids of any type and fields that other tools use differently."""
    images = [
        {"id": "b7", "file_name": "a.jpg", "width": 640.0, "height": 480.0, "split": "train2017", "source": 5},
        {"id": 9, "file_name": "b.jpg", "kind": ["x"], "mask_file": None, "authentic": "no"},
    ]
    boxes = [{"image_id": "b7", "bbox": [1, 2, 3, 4], "category_id": 77}, {"image_id": 9, "bbox": [1.5, 2, 3, 4]}]
    first, second = read(written(tmp_path, boxes, images)).images
    assert (first.size, first.split, first.source, first.image_id) == ((640, 480), "train", None, None)
    assert (second.size, second.kind, second.authentic, second.image_id) == (None, None, False, None)
    assert [box.labels for box in first.boxes + second.boxes] == [("77",), ()]
    assert second.boxes[0].corners == (1.5, 2, 4.5, 6)


@pytest.mark.parametrize(
    ("annotation", "corners"),
    [
        ({"segmentation": [[1, 2, 9, 2, 9, 8], [20, 30, 21, 30, 21, 33]]}, (1, 2, 21, 33)),
        ({"segmentation": [[1, 2, 9, 2, 9, 8]], "bbox": []}, (1, 2, 9, 8)),
        ({"segmentation": {"counts": "abc", "size": [4, 4]}, "bbox": [1, 2, 3, 4], "iscrowd": 1}, (1, 2, 4, 6)),
        ({"segmentation": {"counts": [4], "size": [2, 2]}}, "annotation 5 has neither a bbox nor a polygon"),
        ({"segmentation": [[1, 2, 3]]}, "neither a bbox nor a polygon"),
        ({"segmentation": []}, "neither a bbox nor a polygon"),
        ({"bbox": [1, 2, 3]}, "annotation 5 has a bbox of 3 numbers"),
        ({"bbox": [1, 2, 3, 4], "attributes": {"rotation": 12.5}}, "annotation 5 is a rotated box"),
    ],
)
def test_boxes_polygons_and_annotations_without_a_box(tmp_path, annotation, corners):
    (only,) = read(written(tmp_path, [{"id": 5, "image_id": 1, **annotation}])).images
    (box,) = only.boxes
    if isinstance(corners, str):
        assert corners in box.corners
    else:
        assert box.corners == corners


def test_boxes_without_an_image_are_listed(tmp_path):
    drawings = read(written(tmp_path, [{"image_id": 8, "bbox": [1, 2, 3, 4]}] * 2))
    assert drawings.problems == [f"{tmp_path / 'boxes.json'}: 2 boxes of image 8, which is not listed"]


def test_a_duplicate_image_id_is_refused(tmp_path):
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    with pytest.raises(AnnotationError, match="id 1 more than once"):
        read(written(tmp_path, [], images))
    with pytest.raises(AnnotationError, match=r"\$\.images\[1\]\.file_name"):
        read(written(tmp_path, [], [images[0], {"id": 2, "file_name": 7}]))


def test_written_files_open_in_pycocotools_and_have_every_field_that_cvat_reads(tmp_path):
    records = [
        ImageRecord(
            4, tmp_path / "Tp" / "a.jpg", 100, 80, as_boxes([(1, 2, 30.25, 40), (0, 0, 100, 80)]), "val", "casia1",
            mask_path=tmp_path / "Gt" / "a.png", kind="splice",
        ),
        ImageRecord(9, tmp_path / "Au" / "b.jpg", 50, 60, as_boxes([]), "train", "casia1", authentic=True),
    ]  # fmt: skip
    (tmp_path / "out.json").write_text(json.dumps(exported(records, tmp_path, "forged")))
    with redirect_stdout(StringIO()):
        coco = COCO(str(tmp_path / "out.json"))
    assert [image["file_name"] for image in coco.loadImgs([4, 9])] == ["Tp/a.jpg", "Au/b.jpg"]
    assert [a["bbox"] for a in coco.loadAnns(coco.getAnnIds(imgIds=4))] == [[1, 2, 29.25, 38], [0, 0, 100, 80]]
    assert coco.getAnnIds(imgIds=9) == []
    assert coco.loadCats(coco.getCatIds())[0]["name"] == "forged"
    for annotation in coco.loadAnns(coco.getAnnIds()):
        assert annotation["area"] == annotation["bbox"][2] * annotation["bbox"][3]
        assert {"id", "image_id", "category_id", "segmentation", "iscrowd"} <= set(annotation)
    first, second = read(tmp_path / "out.json").images
    assert (first.split, first.source, first.mask_file, first.kind) == ("val", "casia1", "Gt/a.png", "splice")
    assert (first.image_id, first.authentic, second.image_id, second.authentic) == (4, False, 9, True)


@pytest.mark.parametrize(
    ("field", "split", "defect"),
    [
        ({"split": " Valid"}, "val", None),
        ({"split": ""}, None, None),
        ({"split": "holdout"}, None, "its split is 'holdout'; write train, val or test"),
        ({"authentic": 1}, None, "its authentic is 1; write true or false"),
        ({"kind": "authentic"}, None, "its kind is authentic, but it is not marked so"),
    ],
)
def test_a_field_of_ours_is_understood_or_a_defect(tmp_path, field, split, defect):
    (image,) = read(written(tmp_path, [], [{"id": 1, "file_name": "a.jpg", **field}])).images
    assert image.split == split
    assert (image.defect or "").startswith(defect or "")
    assert (image.defect is None) == (defect is None)

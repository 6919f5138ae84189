import json

import pytest

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.datasets.annotations.drawn import AnnotationError
from boxpromptiml.datasets.annotations.label_studio import exported as tasks_of
from boxpromptiml.datasets.annotations.label_studio import read

REGION = {
    "original_width": 1554,
    "original_height": 2321,
    "image_rotation": 0,
    "value": {"x": 20, "y": 10, "width": 50, "height": 25, "rotation": 0, "rectanglelabels": ["forged"]},
    "id": "Dx_aB91ISN",
    "from_name": "label",
    "to_name": "image",
    "type": "rectanglelabels",
    "origin": "manual",
}
ANNOTATION = {
    "id": 36030,
    "completed_by": 1,
    "result": [REGION],
    "was_cancelled": False,
    "ground_truth": False,
    "created_at": "2024-01-11T20:23:22.988914Z",
    "updated_at": "2024-01-11T20:23:22.988950Z",
    "draft_created_at": None,
    "lead_time": 16.17,
    "prediction": {},
    "result_count": 1,
    "task": 51406,
    "parent_prediction": None,
}
TASK = {
    "id": 51406,
    "annotations": [ANNOTATION],
    "file_upload": "1a2b3c4d-a.jpg",
    "drafts": [],
    "predictions": [],
    "data": {"image": "/data/upload/3/1a2b3c4d-a.jpg"},
    "meta": {},
    "inner_id": 1,
    "total_annotations": 1,
    "cancelled_annotations": 0,
}
"""A task as Label Studio 1.x exports it (JSON)."""
ROW = {
    "image": "/data/local-files/?d=set/day%201/a.jpg",
    "id": 7,
    "label": [{"x": 20, "y": 10, "width": 50, "height": 25, "rotation": 0, "rectanglelabels": ["forged"],
               "original_width": 1554, "original_height": 2321}],
    "quality": "good",
    "annotator": 1,
    "annotation_id": 11,
    "created_at": "2024-01-11T20:23:22.988914Z",
    "updated_at": "2024-01-11T20:23:22.988950Z",
    "lead_time": 16.17,
}  # fmt: skip
"""An entry of a JSON-MIN export."""


def exported(folder, *rows):
    (folder / "export.json").write_text(json.dumps(rows))
    return read(folder / "export.json")


def task(*results, **annotation):
    return TASK | {"annotations": [ANNOTATION | {"result": list(results)} | annotation]}


def region(value, **more):
    return REGION | {"value": value} | more


@pytest.mark.parametrize("row", [TASK, ROW])
def test_json_and_json_min_exports_agree(tmp_path, row):
    (only,) = exported(tmp_path, row).images
    (box,) = only.boxes
    assert box.labels == ("forged",)
    assert box.corners == pytest.approx((0.2, 0.1, 0.7, 0.35))
    assert (only.size, only.shares, only.defect) == ((1554, 2321), True, None)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({"image": "/data/upload/3/1a2b3c4d-a%20b.jpg"}, ("data/upload/3/1a2b3c4d-a b.jpg", "a b.jpg")),
        ({"image": "/data/local-files/?d=set/%C3%BC%23+1.png"}, ("set/ü#+1.png",)),
        ({"text": "no. 5", "photo": "s3://bucket/set/a.JPG"}, ("set/a.JPG",)),
        ({"image": "https://host:8080/x/a.jpg?X-Amz-Date=5", "thumb": "t.png"}, ("x/a.jpg",)),
        ({"image": "/data/local-files/?d=set/a.jpg", "file_name": "a.jpg"}, ("a.jpg", "set/a.jpg")),
        ({"image": "/data/local-files/?d=../../etc/a.jpg"}, ("../../etc/a.jpg",)),
        ({"text": "nothing to see"}, ("task 51406",)),
        ({"image": "http://["}, ("task 51406",)),
    ],
)
def test_images_are_named_by_the_path_in_their_url(tmp_path, data, names):
    assert exported(tmp_path, TASK | {"data": data}).images[0].names == names


def test_the_most_recently_changed_annotation_counts(tmp_path):
    other = region({"x": 1, "y": 1, "width": 2, "height": 2, "rectanglelabels": ["forged"]})
    later = ANNOTATION | {"result": [other], "created_at": "2023", "updated_at": "2024-01-12T00:00:00Z"}
    skipped = ANNOTATION | {"result": [], "was_cancelled": True, "updated_at": "2025-01-01T00:00:00Z"}
    (only,) = exported(tmp_path, TASK | {"annotations": [later, ANNOTATION, skipped]}).images
    assert only.boxes[0].corners == pytest.approx((0.01, 0.01, 0.03, 0.03))
    rows = [ROW | {"label": [other["value"]], "updated_at": "2024-01-12"}, ROW, ROW | {"id": 8, "image": "b.png"}]
    first, second = exported(tmp_path, *rows).images
    assert first.boxes[0].corners == pytest.approx((0.01, 0.01, 0.03, 0.03))
    assert second.names == ("b.png",)


def test_skipped_open_and_empty_tasks_are_distinguished(tmp_path):
    skipped = TASK | {"annotations": [ANNOTATION | {"was_cancelled": True}]}
    waiting = TASK | {"annotations": [], "predictions": [{"result": [REGION]}]}
    drawings = exported(tmp_path, skipped, waiting, task())
    assert ["skipped in Label Studio" in (image.defect or "") for image in drawings.images] == [True, False]
    assert drawings.images[1].boxes == []
    assert not drawings.images[1].authentic
    assert drawings.problems == ["data/upload/3/1a2b3c4d-a.jpg: not annotated yet; submit it in Label Studio"]
    assert len(exported(tmp_path, ROW, ROW | {"id": 9, "annotation_id": None, "label": []}).problems) == 1


@pytest.mark.parametrize(
    ("results", "boxes"),
    [
        ([region({"points": [[10, 20], [30, 20], [30, 60]], "polygonlabels": ["x"]})], [(0.1, 0.2, 0.3, 0.6)]),
        (
            [
                region({"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}, type="rectangle"),
                region({"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "labels": ["x"]}, type="labels"),
            ],
            [(0.1, 0.2, 0.4, 0.6)],
        ),
        ([{"value": {"choices": ["x"]}, "type": "choices"}, {"value": {"text": ["a"]}}, {"type": "relation"}], []),
        ([region({**REGION["value"], "rotation": 296.7})], "rotated box"),
        ([region(REGION["value"], image_rotation=90)], "rotated image"),
        ([region({"format": "rle", "rle": [0, 1], "brushlabels": ["x"]})], "a brush stroke"),
        ([region({"x": 5, "y": 5, "radiusX": 2, "radiusY": 2, "ellipselabels": ["x"]})], "an ellipse"),
        ([region({"x": 5, "y": 5, "width": 1, "keypointlabels": ["x"]})], "a point"),
    ],
)
def test_other_shapes_than_rectangles(tmp_path, results, boxes):
    (only,) = exported(tmp_path, task(*results)).images
    if isinstance(boxes, str):
        assert boxes in only.boxes[0].corners
    else:
        assert [box.corners for box in only.boxes] == [pytest.approx(corners) for corners in boxes]
        assert [box.labels for box in only.boxes] == [("x",)] * len(boxes)


def of(field, place=None, x=20):
    """A region on the image of a data field, at a position in a list of images."""
    value = {**REGION["value"], "x": x}
    return region(value, to_name=field) | ({} if place is None else {"item_index": place})


def lefts(drawings):
    """Left edges of the boxes of each image, or the reason why it was skipped."""
    return {i.names[0]: i.defect or [round(box.corners[0], 2) for box in i.boxes] for i in drawings.images}


def test_boxes_stay_on_their_image_in_a_task_with_several(tmp_path):
    two = {"before": "/data/upload/3/1a2b3c4d-a.jpg", "after": "s3://bucket/b.jpg", "text": "which one?"}
    drawings = exported(tmp_path, task(of("after", x=30), of("before"), of("after", x=40)) | {"data": two})
    assert lefts(drawings) == {"data/upload/3/1a2b3c4d-a.jpg": [0.2], "b.jpg": [0.3, 0.4]}
    listed = {"pages": ["x/a.jpg", "x/b.jpg", "x/c.jpg"]}
    drawings = exported(tmp_path, task(of("image", 2), of("image", 0, x=30)) | {"data": listed})
    assert lefts(drawings) == {"x/a.jpg": [0.3], "x/b.jpg": [], "x/c.jpg": [0.2]}


@pytest.mark.parametrize(
    ("data", "results"),
    [
        ({"before": "a.jpg", "after": "b.jpg"}, [of("before"), of("img")]),
        ({"left": "a.jpg", "right": "b.jpg"}, [of("image")]),
        ({"pages": ["a.jpg", "b.jpg"]}, [of("image")]),
        ({"pages": ["a.jpg", "b.jpg"]}, [of("image", 5)]),
    ],
)
def test_a_box_that_cannot_be_assigned_goes_to_no_image(tmp_path, data, results):
    drawings = exported(tmp_path, task(*results) | {"data": data})
    assert {name: "does not say which of them" in why for name, why in lefts(drawings).items()} == {
        "a.jpg": True,
        "b.jpg": True,
    }


def test_boxes_of_an_image_unknown_to_the_task_are_refused(tmp_path):
    hidden = {"image": "a.jpg", "other": "https://host/photo?id=7"}
    (why,) = lefts(exported(tmp_path, task(of("image"), of("other")) | {"data": hidden})).values()
    assert "belong to several images" in why
    rows = exported(tmp_path, ROW | {"image": "a.jpg", "after": "b.jpg"})
    assert all("JSON-MIN does not say which" in why for why in lefts(rows).values())
    assert len(rows.images) == 2


def test_an_original_photo_shown_for_comparison_is_left_out(tmp_path):
    data = [{"image": f"{n}.jpg", "original": f"{n}-before.jpg"} for n in "ab"]
    drawings = exported(tmp_path, task(of("image")) | {"data": data[0]}, task() | {"data": data[1]})
    assert lefts(drawings) == {"a.jpg": [0.2], "b.jpg": []}
    assert drawings.notes == [
        f"{tmp_path / 'export.json'}: no box refers to the 2 images of 'original'; they are skipped"
    ]


def test_annotations_were_called_completions_before_1_0(tmp_path):
    old = {key: value for key, value in TASK.items() if key != "annotations"}
    assert lefts(exported(tmp_path, old | {"completions": [ANNOTATION]})) == {"data/upload/3/1a2b3c4d-a.jpg": [0.2]}


def test_a_broken_task_costs_one_image(tmp_path):
    broken = task(region({"x": "left", "y": 1, "width": 1, "height": 1}))
    drawings = exported(tmp_path, broken, TASK)
    assert "`$.annotations[0].result[0].value.x`" in drawings.images[0].defect
    assert drawings.images[1].defect is None
    (only,) = exported(tmp_path, ROW | {"label": [{"x": "left"}]}).images
    assert "not laid out as expected" in only.defect
    (tmp_path / "export.json").write_text('{"tasks": []}')
    with pytest.raises(AnnotationError, match="not laid out as expected"):
        read(tmp_path / "export.json")


@pytest.mark.parametrize("prelabels", [True, False])
def test_written_tasks_fit_the_import_of_label_studio(tmp_path, prelabels):
    records = [
        ImageRecord(5, tmp_path / "ü b#1.png", 200, 80, as_boxes([(20, 8, 70, 80)]), "train", "s"),
        ImageRecord(6, tmp_path / "x" / "c.png", 200, 80, as_boxes([]), "train", "s", authentic=True),
    ]
    tasks = tasks_of(records, tmp_path, "forged", "/data/local-files/?d=set/", prelabels)
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    first, second = json.loads((tmp_path / "tasks.json").read_text())
    assert first["data"]["image"] == "/data/local-files/?d=set/%C3%BC%20b%231.png"
    assert second["data"]["file_name"] == "x/c.png"
    kind, other = ("predictions", "annotations") if prelabels else ("annotations", "predictions")
    assert other not in first
    ((drawn,), (nothing,)) = first[kind], second[kind]
    assert nothing["result"] == []
    (result,) = drawn["result"]
    assert result["value"] == {
        "x": 10, "y": 10, "width": 25, "height": 90, "rotation": 0, "rectanglelabels": ["forged"],
    }  # fmt: skip
    assert (result["from_name"], result["to_name"], result["type"]) == ("label", "image", "rectanglelabels")
    assert (result["original_width"], result["original_height"], result["image_rotation"]) == (200, 80, 0)
    assert len(read(tmp_path / "tasks.json").problems) == (2 if prelabels else 0)

"""Complete exports as annotation tools write them, and unusual content found in real ones."""

import json

import pytest

from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.annotations.import_boxes import import_boxes
from boxpromptiml.manifests.manifest import read_manifest

COCO = {
    "info": {"year": "2026", "version": "4", "description": "Exported from roboflow.com", "date_created": ""},
    "licenses": [{"id": 1, "url": "", "name": "Unknown"}],
    "categories": [
        {"id": 0, "name": "forgeries-k3fw", "supercategory": "none"},
        {"id": 1, "name": "manipulated", "supercategory": "forgeries-k3fw"},
    ],
    "images": [
        {"id": 0, "license": 1, "file_name": "a_jpg.rf.0b5c7a.jpg", "height": 80, "width": 100,
         "date_captured": "2026-02-01T10:00:00+00:00", "extra": {"name": "a.jpg"}},
    ],
    "annotations": [
        {"id": 0, "image_id": 0, "category_id": 1, "bbox": [10, 20, 30.5, 40], "area": 1220, "segmentation": [],
         "iscrowd": 0},
    ],
}  # fmt: skip
"""Roboflow's COCO file beside the photos; category 0 stands for the whole set."""
XML = (
    "<annotation><folder></folder><filename>{name}</filename><path>{name}</path><source><database>roboflow.com"
    "</database></source><size><width>100</width><height>80</height><depth>3</depth></size><segmented>0</segmented>"
    "<object><name>{label}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult><occluded>0"
    "</occluded><bndbox><xmin>11</xmin><xmax>40</xmax><ymin>21</ymin><ymax>60</ymax></bndbox></object></annotation>"
)
LINE = "0 0.25 0.5 0.3 0.5\n"
BOX = [10, 20, 40, 60]


def fill(folder, **texts):
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text if isinstance(text, str) else json.dumps(text))
    return folder


@pytest.fixture
def imported(tmp_path, capsys):
    """Function that imports annotations and returns exit code, (boxes, split) per photo path, and printed lines."""

    def run(format, path, **options):
        code = import_boxes(format, path, tmp_path / "out" / "set.json", overwrite=True, **options)
        manifest = read_manifest(tmp_path / "out" / "set.json")
        assert manifest.set_aside == []
        found = {
            record.path.resolve().relative_to(tmp_path).as_posix(): (record.boxes_xyxy.round(2).tolist(), record.split)
            for record in manifest.records
        }
        return code, found, capsys.readouterr().out

    return run


def test_coco_of_roboflow(tmp_path, pictured, imported):
    fill(pictured(tmp_path, "train/a_jpg.rf.0b5c7a.jpg", "mine/a.jpg"), **{"train/_annotations.coco.json": COCO})
    path, box = tmp_path / "train/_annotations.coco.json", ([[10, 20, 40.5, 60]], "train")
    assert imported("coco", path)[:2] == (0, {"train/a_jpg.rf.0b5c7a.jpg": box})
    assert imported("coco", path, images=tmp_path / "mine")[:2] == (0, {"mine/a.jpg": box})
    assert len(read_manifest(path).records) == 1


def test_pascal_voc_of_roboflow(tmp_path, pictured, imported):
    """Photos and XML files lie side by side in train, valid and test."""
    names = [f"{split}/{stem}_jpg.rf.0b5c7a" for split, stem in (("train", "a"), ("valid", "b"), ("test", "c"))]
    pictured(tmp_path, *(f"{name}.jpg" for name in names))
    fill(tmp_path, **{f"{n}.xml": XML.format(name=f"{n[6:]}.jpg", label="manipulated") for n in names})
    code, found, output = imported("voc", tmp_path)
    assert (code, [split for _, split in found.values()]) == (0, ["test", "train", "val"])
    assert "1 train, 1 val, 1 test" in output


def test_yolo_of_roboflow_without_its_test_split(tmp_path, pictured, imported):
    yaml = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['manipulated']\n"
    pictured(tmp_path, "train/images/a.jpg", "valid/images/b.jpg")
    fill(tmp_path, **{"data.yaml": yaml, "train/labels/a.txt": LINE, "valid/labels/b.txt": LINE})
    code, found, output = imported("yolo", tmp_path)
    assert (code, found) == (0, {"train/images/a.jpg": ([BOX], "train"), "valid/images/b.jpg": ([BOX], "val")})
    assert output.startswith("note: ")
    assert "test names ../test/images, which does not exist" in output
    (tmp_path / "data.yaml").write_text(yaml.replace("../valid", "../elsewhere"))
    code, found, output = imported("yolo", tmp_path)
    assert (code, len(found)) == (3, 1)
    assert "val names ../elsewhere/images, which does not exist" in output


def test_pascal_voc_of_cvat(tmp_path, pictured, imported):
    """Subsets are called Train and Validation, and their lists quote names with spaces."""
    pictured(tmp_path, "JPEGImages/day 1/a.jpg", "JPEGImages/b.jpg")
    fill(
        tmp_path,
        **{
            "Annotations/day 1/a.xml": XML.format(name="day 1/a.jpg", label="manipulated"),
            "Annotations/b.xml": XML.format(name="b.jpg", label="manipulated"),
            "ImageSets/Main/Validation.txt": '"day 1/a"\n',
            "ImageSets/Main/Train.txt": "b\n",
            "labelmap.txt": "# label:color_rgb:parts:actions\nmanipulated:::\n",
        },
    )
    assert imported("voc", tmp_path)[:2] == (
        0,
        {"JPEGImages/b.jpg": ([BOX], "train"), "JPEGImages/day 1/a.jpg": ([BOX], "val")},
    )


def test_yolo_1_1_of_cvat(tmp_path, pictured, imported):
    pictured(tmp_path, "obj_Train_data/a.jpg", "obj_Validation_data/b.jpg")
    fill(
        tmp_path,
        **{
            "obj.data": "classes = 2\ntrain = data/Train.txt\nvalid = data/Validation.txt\nnames = data/obj.names\n",
            "obj.names": "manipulated\nface\n",
            "Train.txt": "data/obj_Train_data/a.jpg\n",
            "Validation.txt": "data/obj_Validation_data/b.jpg\n",
            "obj_Train_data/a.txt": LINE,
            "obj_Validation_data/b.txt": LINE + "1 .5 .5 .1 .1\n",
        },
    )
    with pytest.raises(InputError, match=r"2 labels, manipulated \(2\), face \(1\).*--labels"):
        imported("yolo", tmp_path)
    assert imported("yolo", tmp_path, labels=["manipulated"])[:2] == (
        0,
        {"obj_Train_data/a.jpg": ([BOX], "train"), "obj_Validation_data/b.jpg": ([BOX], "val")},
    )


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_ultralytics_yolo_of_cvat_also_written_on_windows(tmp_path, pictured, imported, slash):
    pictured(tmp_path, "images/train/a.jpg")
    fill(
        tmp_path,
        **{
            "data.yaml": f"path: .\ntrain: lists{slash}train.txt\nnames:\n  0: manipulated\n",
            "lists/train.txt": f"data{slash}images{slash}train{slash}a.jpg\n",
            "labels/train/a.txt": LINE,
        },
    )
    assert imported("yolo", tmp_path)[:2] == (0, {"images/train/a.jpg": ([BOX], "train")})


def test_without_data_yaml_folders_give_the_splits(tmp_path, pictured, imported):
    pictured(tmp_path, "train/images/a.jpg", "valid/images/b.jpg", "images/test2017/c.jpg")
    fill(tmp_path, **{"train/labels/a.txt": LINE, "valid/labels/b.txt": LINE, "labels/test2017/c.txt": LINE})
    assert [split for _, split in imported("yolo", tmp_path)[1].values()] == ["test", "train", "val"]


def test_coco_of_label_studio(tmp_path, pictured, imported):
    name = "..\\..\\label-studio\\media\\upload\\4\\cb0618f6-a.jpg"
    content = {
        "images": [{"width": 100, "height": 80, "id": 0, "file_name": name}],
        "categories": [{"id": 0, "name": "manipulated"}, {"id": 1, "name": "never used"}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 0, "segmentation": [], "bbox": [10.0, 20.0, 30.0, 40.0],
                         "ignore": 0, "iscrowd": 0, "area": 1200.0}],
        "info": {"year": 2026, "version": "1.0", "description": "", "contributor": "Label Studio", "url": ""},
    }  # fmt: skip
    fill(pictured(tmp_path, "images/cb0618f6-a.jpg", "originals/a.jpg"), **{"result.json": content})
    for folder, name in (("images", "cb0618f6-a.jpg"), ("originals", "a.jpg")):
        found = imported("coco", tmp_path / "result.json", images=tmp_path / folder)
        assert found[:2] == (0, {f"{folder}/{name}": ([BOX], "train")})


def test_yolo_and_pascal_voc_of_label_studio(tmp_path, pictured, imported):
    pictured(tmp_path, "yolo/images/cb0618f6-a.jpg", "voc/images/cb0618f6-a.jpg", "originals/a.jpg")
    notes = {"categories": [{"id": 0, "name": "manipulated"}], "info": {"contributor": "Label Studio"}}
    fill(tmp_path / "yolo", **{"classes.txt": "manipulated\n", "labels/cb0618f6-a.txt": LINE, "notes.json": notes})
    fill(tmp_path / "voc", **{"Annotations/cb0618f6-a.xml": XML.format(name="cb0618f6-a", label="manipulated")})
    for format in ("yolo", "voc"):
        assert imported(format, tmp_path / format)[:2] == (
            0,
            {f"{format}/images/cb0618f6-a.jpg": ([BOX], "train")},
        )
    found = imported("voc", tmp_path / "voc", images=tmp_path / "originals")
    assert found[:2] == (0, {"originals/a.jpg": ([BOX], "train")})


def test_yolo_keypoints_are_not_taken_for_a_polygon(tmp_path, pictured, imported):
    """A box followed by two keypoints looks like a polygon of four corners."""
    yaml = "train: images\nkpt_shape: [2, 2]\nnames: {0: manipulated}\n"
    fill(pictured(tmp_path, "images/a.jpg"), **{"data.yaml": yaml, "labels/a.txt": "0 .25 .5 .3 .5 .9 .9 .1 .1\n"})
    assert imported("yolo", tmp_path)[1] == {"images/a.jpg": ([BOX], "train")}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"categories": [], "annotations": [{"image_id": 0, "category_id": n, "bbox": [1, 2, 30, 40]} for n in (1, 2)]},
         "its boxes have 2 labels, 1 (1), 2 (1)"),
        ({"categories": COCO["categories"] + [{"id": 1, "name": "face"}]}, "categories contains id 1 more than once"),
        ({"images": COCO["images"] * 2}, "images contains id 0 more than once"),
        ({"images": [COCO["images"][0] | {"width": "100"}]}, "$.images[0].width"),
        ({"annotations": [COCO["annotations"][0] | {"bbox": ["10", 2, 3, 4]}]}, "$.annotations[0].bbox[0]"),
        ({"annotations": None}, "none of its 1 images has a box"),
        ({"annotations": "none"}, "$.annotations"),
        ({"images": None}, "$.images"),
        ({"annotations": [{"image_id": 0, "segmentation": {"counts": [9], "size": [3, 3]}, "category_id": 1},
                          {"image_id": 0, "bbox": [1, 2, 30, 40], "category_id": 1}]},
         "has neither a bbox nor a polygon"),
        ({"annotations": [COCO["annotations"][0] | {"attributes": {"rotation": 30}}]}, "a rotated box"),
    ],
)  # fmt: skip
def test_both_readers_of_coco_report_damage_alike(tmp_path, pictured, capsys, changes, words):
    path = fill(pictured(tmp_path, "a_jpg.rf.0b5c7a.jpg"), **{"set.json": COCO | changes}) / "set.json"
    try:
        reasons = [aside.reason for aside in read_manifest(path).set_aside]
    except InputError as error:
        reasons = [str(error)]
    assert words in reasons[0]
    with pytest.raises(InputError) as caught:
        import_boxes("coco", path, tmp_path / "out.json")
    assert words in str(caught.value) + capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}],  # detection results
        {"info": {}, "categories": {}, "items": [{"id": "a", "annotations": []}]},  # Datumaro
        {
            "version": "5.2",
            "shapes": [{"label": "forged", "points": [[1, 2], [3, 4]]}],
            "imagePath": "a.jpg",
        },  # LabelMe
        {"a.jpg1234": {"filename": "a.jpg", "regions": []}},  # VIA
        {"images": [], "categories": []},  # a COCO test list
    ],
)
def test_other_json_formats_are_refused_as_coco(tmp_path, content):
    path = fill(tmp_path, **{"set.json": content}) / "set.json"
    for read in (read_manifest, lambda path: import_boxes("coco", path, tmp_path / "out.json")):
        with pytest.raises(InputError, match="not COCO") as caught:
            read(path)
        assert len(str(caught.value).splitlines()) == 1


def test_ids_beyond_64_bits_are_renumbered(tmp_path, pictured, imported):
    content = COCO | {"images": [COCO["images"][0] | {"id": 2**70}]}
    content["annotations"] = [COCO["annotations"][0] | {"image_id": 2**70}]
    path = fill(pictured(tmp_path, "a_jpg.rf.0b5c7a.jpg"), **{"set.json": content}) / "set.json"
    with pytest.raises(InputError, match="is not a 64-bit integer; `boxpromptiml import_boxes"):
        read_manifest(path)
    assert len(imported("coco", path)[1]) == 1


def test_part_boxes_of_a_voc_object_are_ignored(tmp_path, pictured, imported):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></part>"
    text = XML.format(name="a.jpg", label="manipulated").replace("<pose>", part + "<pose>")
    fill(pictured(tmp_path, "a.jpg"), **{"a.xml": text})
    assert imported("voc", tmp_path)[1] == {"a.jpg": ([BOX], "train")}


def test_a_split_without_a_box_is_reported(tmp_path, pictured, imported):
    """If all label files are empty, the export may have lost the boxes."""
    pictured(tmp_path, "train/images/a.jpg", "valid/images/b.jpg", "valid/images/c.jpg")
    fill(tmp_path, **{"train/labels/a.txt": LINE, "valid/labels/b.txt": "", "valid/labels/c.txt": ""})
    code, found, output = imported("yolo", tmp_path)
    assert (code, len(found)) == (0, 3)
    assert "note: val: none of its 2 images has a box; they count as authentic" in output


def test_boxes_of_larger_images_are_reported(tmp_path, pictured, imported):
    """For files that do not give the size of their images."""
    boxes = [[120, 30, 150, 40], [20, 60, 60, 70], [90, 30, 50, 50]]
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(3)],
        "annotations": [{"id": i, "image_id": i, "bbox": box} for i, box in enumerate(boxes)],
    }
    fill(pictured(tmp_path, *(f"{i}.jpg" for i in range(3))), **{"set.json": content})
    code, found, output = imported("coco", tmp_path / "set.json")
    assert (code, len(found)) == (3, 2)
    assert "note: 2 of 2 boxes extend beyond their images; check that they were drawn on these" in output

import json

import numpy as np
import pytest

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.manifests.coco import Annotation, CocoError, box_table, box_xywh, foreign_numbers, read_coco

SIZES = np.array([(100, 80)] * 4, np.float32)


@pytest.mark.parametrize(
    ("rows", "sizes", "words"),
    [
        ([(0.1, 0.2, 0.5, 0.9)], SIZES, "like shares"),
        ([(0.1, 0.2, 0.5, 0.9)], SIZES * np.nan, "like shares"),
        ([(0, 0, 1, 1)] * 3, SIZES, "like shares"),  # whole images
        ([(0, 0, 1, 1)], SIZES, None),  # a region of one pixel
        ([(0, 0, 1, 1)] * 3, SIZES / SIZES, None),  # images of one pixel each
        ([(0.1, 0.2, 0.5, 0.9), (5, 5, 9, 9)], SIZES, None),
        ([(50, 40, 140, 110)], SIZES, "1 of its 1 boxes extend beyond their images"),
        ([(50, 40, 140, 110), (5, 5, 15, 15), (5, 5, 15, 15)], SIZES, None),  # one box extends over the border
        ([(50, 40, 140, 110)], SIZES * np.nan, None),
        ([(-10, 70, 40, 120)], SIZES, None),
        ([(np.inf, 1, 2, 3)], SIZES, None),
        ([], SIZES, None),
    ],
)
def test_coordinates_that_are_not_pixels(rows, sizes, words):
    found = foreign_numbers(as_boxes(rows), sizes[: len(rows)])
    assert found is None if words is None else words in found


def test_a_box_comes_from_bbox_or_encloses_the_polygons():
    assert box_xywh(Annotation(1, bbox=(1, 2, 3, 4), segmentation=[[9, 9, 9, 9]])) == (1, 2, 3, 4)
    assert box_xywh(Annotation(1, segmentation=[[1, 2, 9, 2, 9, 8]])) == (1, 2, 8, 6)
    assert "rotated" in box_xywh(Annotation(1, bbox=(1, 2, 3, 4), attributes={"rotation": 3.0}))


def test_a_table_keeps_the_order_of_images_and_names_the_first_defect(tmp_path):
    images = [{"id": str(i), "file_name": f"{i}.jpg", "width": 100, "height": 80} for i in (3, 1)]
    boxes = [(1, [9, 9, 5, 5]), (3, [1, 2, 3, 4]), (1, [7, 7, -1, 5]), (1, [7, 7, 0, 5])]
    annotations = [{"id": n, "image_id": i, "bbox": box} for n, (i, box) in enumerate(boxes)]
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    table = box_table(path, read_coco(path, "see"))
    assert [table.of(place).tolist()[0] for place in (0, 1)] == [[1, 2, 4, 6], [9, 9, 14, 14]]
    assert list(table.defects) == [1]
    assert "reversed" in table.defects[1]
    path.write_text(json.dumps({"images": images, "annotations": [{"id": 5, "image_id": 8, "bbox": [1, 2, 3, 4]}]}))
    with pytest.raises(CocoError, match="annotation 5 belongs to image 8, which is not listed"):
        box_table(path, read_coco(path, "see"))

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from boxpromptiml import images
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.boxes_from_mask import boxes_from_mask
from boxpromptiml.core.records import ImageRecord, InputError, Sample, Stamp
from boxpromptiml.manifests.manifest import write_manifest
from boxpromptiml.shards import SCHEMA, CacheError, write_index, write_shard
from stage1_pseudomask.audit import audit, boundary_f1, iou
from stage1_pseudomask.generate import pseudomasks
from stage1_pseudomask.teachers.grabcut import GrabCut

SIZE = 20
LAB = Path(os.environ.get("BOXPROMPTIML_LAB", Path(__file__).parents[2] / "../shared/lab")) / "forgeries"


def square(x, y, side):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[y : y + side, x : x + side] = 255
    return mask


def make_sample(image_id, pseudo_mask, truth, source, boxes=((4, 4, 14, 14),), authentic=False):
    return Sample(
        image_id=image_id,
        image=np.zeros((SIZE, SIZE, 3), np.uint8),
        pseudo_mask=pseudo_mask,
        truth=truth,
        boxes_xyxy=as_boxes(boxes),
        teacher_scores=np.ones(len(boxes), np.float32),
        source=source,
        split="test",
        authentic=authentic,
        kind="",
        width=SIZE,
        height=SIZE,
    )


def write_cache(folder, samples):
    stamp = Stamp(SCHEMA, SIZE, "none", "", "0", "0")
    write_shard(folder / "shard-000-00000.h5", samples, [], stamp)
    write_index(folder, stamp)
    return folder


def test_scores_match_a_hand_computed_case(tmp_path, capsys):
    blank = np.zeros((SIZE, SIZE), np.uint8)
    cache = write_cache(
        tmp_path,
        [
            make_sample(0, square(4, 4, 5), square(4, 4, 5), "a"),  # IoU 1; box 25/100
            make_sample(1, square(4, 4, 10), square(4, 4, 5), "a"),  # IoU 25/100; box 25/100
            make_sample(2, blank, square(4, 4, 10), "b"),  # IoU 0; box 1
            make_sample(3, blank, None, "b"),  # no ground truth: not counted
            make_sample(4, blank, blank, "b", boxes=(), authentic=True),  # authentic: not counted
        ],
    )
    assert audit(cache, tmp_path / "report") == 0
    scores = json.loads((tmp_path / "report/audit.json").read_text())
    assert scores["images"] == 3
    assert scores["pseudo_mask_iou"] == pytest.approx(1.25 / 3, abs=1e-4)
    assert scores["pseudo_mask_iou_ci_low"] < scores["pseudo_mask_iou"] < scores["pseudo_mask_iou_ci_high"]
    assert scores["box_iou"] == pytest.approx(1.5 / 3, abs=1e-4)
    assert (scores["a/images"], scores["a/pseudo_mask_iou"], scores["a/box_iou"]) == (2, 0.625, 0.25)
    assert (scores["b/images"], scores["b/pseudo_mask_iou"], scores["b/box_iou"]) == (1, 0, 1)
    assert images.read_photo(tmp_path / "report/audit.png").std() > 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["source", "a", "b", "all"]


def test_confidence_ordered_like_iou_has_rank_correlation_one(tmp_path):
    truth = square(4, 4, 10)
    masks = {0.2: square(4, 4, 3), 0.5: square(4, 4, 6), 0.9: square(4, 4, 9)}

    def correlation(folder, confidences):
        samples = [
            replace(make_sample(i, mask, truth, "a"), teacher_scores=np.array([confidence], np.float32))
            for i, (mask, confidence) in enumerate(zip(masks.values(), confidences, strict=True))
        ]
        audit(write_cache(tmp_path / folder, samples))
        return json.loads((tmp_path / folder / "audit.json").read_text())["confidence_rank_correlation"]

    assert correlation("knows", masks) == 1
    assert correlation("contrary", [-score for score in masks]) == -1
    assert correlation("silent", [1, 1, 1]) == 0


def test_results_are_written_beside_the_cache_by_default(tmp_path):
    audit(write_cache(tmp_path, [make_sample(0, square(4, 4, 5), square(4, 4, 5), "a")]))
    assert (tmp_path / "audit.json").exists()


def test_results_of_another_cache_are_not_replaced_unasked(tmp_path, capsys):
    one, other = (
        write_cache(tmp_path / name, [make_sample(0, square(4, 4, side), square(4, 4, 5), name)])
        for name, side in (("one", 5), ("other", 3))
    )
    assert audit(one, tmp_path / "out") == 0
    before = (tmp_path / "out/audit.json").read_bytes()
    assert audit(one, tmp_path / "out") == 0
    with pytest.raises(InputError, match=r"other settings \(cache \.\./one, now \.\./other\).*--overwrite"):
        audit(other, tmp_path / "out")
    assert (tmp_path / "out/audit.json").read_bytes() == before
    assert audit(other, tmp_path / "out", overwrite=True) == 0
    assert "replaced: " in capsys.readouterr().out
    assert (tmp_path / "out/audit.json").read_bytes() != before


def test_a_cache_without_ground_truth_is_refused(tmp_path):
    with pytest.raises(CacheError, match="no manipulated image has ground truth"):
        audit(write_cache(tmp_path, [make_sample(0, square(4, 4, 5), None, "a")]))


def test_an_empty_ground_truth_of_a_manipulated_image_is_named_and_never_scored(tmp_path, capsys):
    good, empty = square(4, 4, 5), square(4, 4, 5) * 0
    samples = [make_sample(0, good, good, "a"), make_sample(1, good, empty, "a")]
    assert audit(write_cache(tmp_path, samples)) == 3
    scores = json.loads((tmp_path / "audit.json").read_text())
    assert (scores["images"], scores["images_set_aside"], scores["pseudo_mask_iou"]) == (1, 1, 1)
    assert scores["set_aside"] == ["image 1 of a: manipulated, but its ground truth is empty"]
    assert "skipped: image 1 of a: manipulated, but its ground truth is empty" in capsys.readouterr().out


def test_iou_of_two_empty_masks_is_one():
    empty = np.zeros((4, 4), bool)
    assert iou(empty, empty) == 1
    assert iou(empty, ~empty) == 0


def test_boundary_f1_allows_the_tolerance():
    here, there, away = (square(x, 4, 5) > 0 for x in (2, 4, 14))
    assert boundary_f1(here, here, 0) == 1
    assert boundary_f1(here, there, 2) == 1
    assert 0 < boundary_f1(here, there, 1) < 1
    assert boundary_f1(here, away, 2) == 0


def test_boundary_f1_agrees_with_a_distance_transform():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (ndimage.gaussian_filter(rng.normal(size=(40, 50)), 4) > 0 for _ in range(2))
        # Boundary pixels have a neighbour outside the mask; pixels beyond the image do not count as outside.
        edges = [m & ~ndimage.binary_erosion(m, np.ones((3, 3)), border_value=1) for m in (a, b)]
        near = [ndimage.distance_transform_edt(~edge) for edge in edges]
        precision, recall = (near[1][edges[0]] <= 1).mean(), (near[0][edges[1]] <= 1).mean()
        assert boundary_f1(a, b, 1) == pytest.approx(2 * precision * recall / (precision + recall))


@pytest.mark.skipif(not LAB.is_dir(), reason="the photos to measure with are not on this machine")
def test_grabcut_is_good_enough_on_real_forgeries(tmp_path):
    records = []
    for source in ("casia1", "imd2020", "comofod", "noso"):
        for path in sorted((LAB / source / "images").iterdir())[:6]:
            mask_path = next((LAB / source / "masks").glob(f"{path.stem}.*"))
            mask = images.read_mask(mask_path)
            boxes = boxes_from_mask(mask, np.random.default_rng(len(records)))
            height, width = mask.shape
            records.append(ImageRecord(len(records), path, width, height, boxes, "test", source, mask_path))
    write_manifest(tmp_path / "manifest.json", records, root=LAB)
    assert pseudomasks(tmp_path / "manifest.json", tmp_path / "cache", GrabCut(), accelerator="cpu", devices=1) == 0
    audit(tmp_path / "cache")
    scores = json.loads((tmp_path / "cache/audit.json").read_text())
    assert scores["pseudo_mask_iou"] > 0.6
    assert scores["pseudo_mask_iou"] > scores["box_iou"] + 0.1

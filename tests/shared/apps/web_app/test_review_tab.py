"""The Review tab: samples of a cache, worst first, can be dropped or sent to Annotate for new boxes."""

from dataclasses import replace

import numpy as np
import pytest

from boxpromptiml.apps.web_app.annotate_tab import AnnotationContext
from boxpromptiml.apps.web_app.annotation_files import MANIFEST
from boxpromptiml.apps.web_app.annotation_session import AnnotationSession
from boxpromptiml.apps.web_app.cache_review import DROPPED, CacheReview
from boxpromptiml.apps.web_app.page import Contents
from boxpromptiml.apps.web_app.review_tab import SHEET, heading, look, pair, sheet
from boxpromptiml.apps.web_app.teacher_preview import Previewer
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.images import write_photo
from boxpromptiml.images.visualization import BOX_COLOUR
from boxpromptiml.manifests.manifest import read_manifest, write_manifest
from boxpromptiml.shards import write_index, write_shard
from stage1_pseudomask.teachers.grabcut import GrabCut


@pytest.fixture
def photos(tmp_path, disk):
    """Folder of the photos of the cache: images 0 to 5, 640 × 480 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    records = []
    for i in range(6):
        write_photo(folder / f"{i}.png", disk(np.random.default_rng(i), 480, 640, (200, 140), 50)[0])
        box = as_boxes([(100, 80, 300, 200)])
        records.append(ImageRecord(i, folder / f"{i}.png", 640, 480, box, "train", "x"))
    write_manifest(folder / MANIFEST, records)
    return folder


def test_pictures_have_boxes_and_masks(make_sample):
    mask = np.zeros((8, 8), np.uint8)
    mask[:4] = 255
    sample = replace(make_sample(2), pseudo_mask=mask, truth=None, boxes_xyxy=as_boxes([(0, 0, 8, 4)]))
    picture, truth = pair(sample, 64)
    assert truth is None
    assert picture.shape == (64, 64, 3)
    assert tuple(picture[0, 30]) == BOX_COLOUR
    assert pair(replace(sample, truth=mask), 64)[1] is not None


def test_a_damaged_sample_is_reported(cache, flip):
    review = CacheReview(cache)
    flip(cache / "shard-001-00000.h5", 1)
    row = review.reader.image_ids.tolist().index(1)
    rank = [review.row("confidence", each) for each in range(6)].index(row)
    assert 'class="notice error"' in look(review, "confidence", rank)[3]


def test_a_sheet_shows_one_page_of_samples(tmp_path, stamp, make_sample):
    folder = tmp_path / "many"
    write_shard(folder / "shard-000-00000.h5", [make_sample(i) for i in range(SHEET + 3)], [], stamp)
    write_index(folder, stamp)
    review = CacheReview(folder)
    assert len(sheet(review, "confidence", 3)) == SHEET
    assert len(sheet(review, "confidence", SHEET + 1)) == 3
    review.toggle(review.row("confidence", 1))
    assert sheet(review, "confidence", 0)[1][1].endswith("dropped")
    assert "state dropped" in heading(review, "confidence", 1)


def test_samples_where_student_and_teacher_disagree_are_marked(cache, localizer):
    review = CacheReview(cache, localizer)
    assert "≠ student" not in "".join(caption for _, caption in sheet(review, "confidence", 0))
    review.ask_student()
    assert "≠ student" in sheet(review, "student", 0)[0][1]
    _, _, title, detail, _ = look(review, "student", 0)
    assert "student and teacher disagree" in title
    assert f"student, IoU with the pseudo-mask {review.student_agreement[review.row('student', 0)]:.2f}" in detail


def test_the_student_runs_only_when_its_ranking_is_selected(visit, serve, cache, localizer):
    review = CacheReview(cache, localizer)
    with serve(Contents(localizer, review=review)) as address:
        page = visit(address)
        page.click("role=tab[name=Review]")
        page.wait_for_selector("#sample >> text=1 of 6")
        assert review.student_agreement is None
        page.click("text=agreement with the student")
        page.wait_for_selector("#sample >> text=student and teacher disagree")
        first = int(review.reader.image_ids[review.row("student", 0)])
        assert f"image {first}," in page.inner_text("#sample")


def test_drop_and_fix_in_a_browser(visit, serve, until, cache, photos):
    review = CacheReview(cache)
    context = AnnotationContext(AnnotationSession(photos), Previewer(GrabCut()))
    worst, second = (int(review.reader.image_ids[review.row("agreement", rank)]) for rank in range(2))
    with serve(Contents(annotation=context, review=review)) as address:
        page = visit(address)
        page.click("role=tab[name=Review]")
        page.wait_for_selector(f"#sample >> text=1 of 6 image {worst},")
        assert page.locator("#detail figure").count() == 3
        page.keyboard.press("d")
        page.wait_for_selector("#listed >> text=boxpromptiml cache prune")
        assert (cache / DROPPED).read_text() == f"{worst}\n"
        page.keyboard.press("ArrowRight")
        page.wait_for_selector(f"#sample >> text=2 of 6 image {second},")
        page.keyboard.press("f")
        page.wait_for_selector(f"#title >> text={second}.png")
        page.wait_for_selector("#reply figure.mask")
        page.wait_for_timeout(400)
        page.keyboard.press("b")
        until(page, lambda: len(context.session.boxes(second)) == 2)
        page.keyboard.press("Enter")
        page.wait_for_selector("#reply >> text=boxpromptiml pseudomasks")
        assert page.left == []
    fixed = {record.image_id: len(record.boxes_xyxy) for record in read_manifest(photos / MANIFEST).records}
    assert fixed == dict.fromkeys(range(6), 1) | {second: 2}


def test_without_its_photo_a_sample_cannot_be_fixed_and_the_page_says_so(visit, serve, cache):
    with serve(Contents(review=CacheReview(cache))) as address:
        page = visit(address)
        page.wait_for_selector("#sample >> text=1 of 6")
        page.click("text=Fix its boxes")
        page.wait_for_selector("#detail >> text=With the folder of its photos")

import numpy as np
import pytest

from boxpromptiml.apps.web_app.cache_review import DROPPED, CacheReview, agreement, student_view
from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.provenance import write_json
from boxpromptiml.shards import ShardReader
from boxpromptiml.shards.maintenance import prune


def test_the_worst_comes_first(cache):
    review = CacheReview(cache)
    reader = ShardReader(cache)
    for row in range(len(reader)):
        sample = reader[row]
        if sample.truth is None:
            assert np.isnan(review.agreement[row])
            continue
        found, true = sample.pseudo_mask >= 128, sample.truth > 0
        assert review.agreement[row] == pytest.approx((found & true).sum() / (found | true).sum())
    rows = [review.row("agreement", rank) for rank in range(len(review))]
    with_truth = [row for row in rows if not np.isnan(review.agreement[row])]
    assert rows[: len(with_truth)] == with_truth  # samples without ground truth come last
    assert sorted(review.agreement[with_truth]) == [review.agreement[row] for row in with_truth]
    by_confidence = [reader.confidence[review.row("confidence", rank)] for rank in range(len(review))]
    assert by_confidence == sorted(by_confidence)


class Student:
    """A stub student that marks bright pixels."""

    threshold = 0.6

    def localize(self, photos):
        return [photo[..., 0].astype(np.float32) / 255 for photo in photos]


def test_the_largest_disagreement_of_student_and_teacher_comes_first_and_is_marked(cache):
    review = CacheReview(cache, Student())
    assert not any(review.is_marked(row) for row in range(len(review)))
    with pytest.raises(InputError, match="there is no sample"):
        review.row("student", 0)
    review.ask_student()
    for row in range(len(review)):
        sample = review.reader[row]
        student, teacher = sample.image[..., 0] / 255 > 0.6, sample.pseudo_mask >= 128
        assert review.student_agreement[row] == pytest.approx((student & teacher).sum() / (student | teacher).sum())
        assert student_view(Student(), sample)[1] == review.student_agreement[row]
    rows = [review.row("student", rank) for rank in range(len(review))]
    assert sorted(review.student_agreement) == [review.student_agreement[row] for row in rows]
    assert [row for row in rows if review.is_marked(row)] == rows[:1]  # 10 % of six samples, rounded up


def test_comparison_without_a_loaded_student_is_refused(cache):
    with pytest.raises(InputError, match="no student is loaded"):
        CacheReview(cache).ask_student()


def test_empty_masks_agree(make_sample):
    from dataclasses import replace

    empty = np.zeros((8, 8), np.uint8)
    assert agreement(replace(make_sample(2), pseudo_mask=empty, truth=empty)) == 1
    assert agreement(replace(make_sample(2), pseudo_mask=empty, truth=empty + 255)) == 0


def test_dropped_samples_are_written_to_a_list_that_prune_accepts(cache, tmp_path):
    review = CacheReview(cache)
    before = {path.name: path.read_bytes() for path in cache.iterdir()}
    for rank in (0, 1, 2, 1):
        review.toggle(review.row("confidence", rank))
    assert review.dropped == 2
    again = CacheReview(cache)
    dropped = [row for row in range(len(again)) if again.is_dropped(row)]
    assert dropped == sorted(review.row("confidence", rank) for rank in (0, 2))
    assert {path.name: path.read_bytes() for path in cache.iterdir() if path.name != DROPPED} == before
    prune(cache, tmp_path / "pruned", ids_file=cache / DROPPED)
    left = set(ShardReader(tmp_path / "pruned").image_ids)
    assert left == set(again.reader.image_ids) - set(again.reader.image_ids[dropped])


@pytest.mark.parametrize(("order", "rank"), [("agreement", -1), ("agreement", 6), ("size", 0), ("__class__", 0)])
def test_an_unknown_rank_is_refused(cache, order, rank):
    with pytest.raises(InputError, match="there is no sample"):
        CacheReview(cache).row(order, rank)


@pytest.mark.parametrize("content", [b"seven\n", b"\xff\xfe", b"1.5"])
def test_a_broken_drop_list_is_named(cache, content):
    (cache / DROPPED).write_bytes(content)
    with pytest.raises(InputError, match=r"dropped\.txt: cannot be read"):
        CacheReview(cache)


def test_links_out_of_the_folder_are_not_followed(cache, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("1\n")
    (cache / f".{DROPPED}.partial").symlink_to(secret)
    review = CacheReview(cache)
    review.toggle(0)
    assert secret.read_text() == "1\n"
    (cache / DROPPED).unlink()
    (cache / DROPPED).symlink_to(secret)
    with pytest.raises(InputError, match="points outside"):
        CacheReview(cache)


def test_an_index_cannot_name_shards_elsewhere(cache, make_cache):
    import json

    other = make_cache("other")
    index = json.loads((cache / "index.json").read_text())
    index["shards"][0]["name"] = f"../other/{index['shards'][0]['name']}"
    write_json(cache / "index.json", index)
    with pytest.raises(InputError, match=r"points outside|shard"):
        CacheReview(cache)
    shard = next(cache.glob("*.h5"))
    shard.unlink()
    shard.symlink_to(other / shard.name)
    with pytest.raises(InputError):
        CacheReview(cache)

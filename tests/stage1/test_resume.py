"""Shards follow the order of the manifest, and finished batches are never computed again."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.core.records import Sample, SetAside, Stamp
from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.shards import SCHEMA, CacheError, read_shard, shard_paths, write_shard
from stage1_pseudomask import resume
from stage1_pseudomask.loading import Prompts

STAMP = Stamp(SCHEMA, 32, "none", "", "0", "0")


@given(count=st.integers(0, 200), shard_size=st.integers(1, 70))
def test_slices_contain_every_record_once_and_in_order(count, shard_size):
    pieces = resume.slices(list(range(count)), shard_size)
    assert [record for piece in pieces for record in piece.records] == list(range(count))
    assert [piece.place for piece in pieces] == list(range(len(pieces)))
    assert all(len(piece.records) == shard_size for piece in pieces[:-1])


@pytest.fixture
def piece(manifest):
    return resume.slices(read_manifest(manifest).records[:8], 8)[0]


def results(records):
    """Results of a teacher that always finds nothing."""
    items = list(Prompts(records, 32, np.asarray))
    return [item if isinstance(item, Sample | SetAside) else item.sample for item in items]


def test_pending_records_shrink_with_every_part_and_the_merge_keeps_the_order(piece, tmp_path):
    assert resume.pending(tmp_path, piece, STAMP) == piece.records
    for batch in (piece.records[4:], piece.records[:4]):  # later records first, as another process might
        resume.write_part(tmp_path, piece, results(batch), STAMP, seconds=1.5)
    assert resume.pending(tmp_path, piece, STAMP) == []
    resume.merge(tmp_path, piece, STAMP, process=3)
    path = shard_paths(tmp_path)[0]
    assert path.name == "shard-003-00000.h5"
    samples, set_aside = read_shard(path, STAMP)
    assert [sample.image_id for sample in samples] == [100, 101, 102, 103, 104, 106, 107]
    assert [item.image_id for item in set_aside] == [105]
    assert not list(tmp_path.glob("part-*"))


def test_a_missing_shard_is_named_and_leftovers_are_removed(piece, tmp_path):
    resume.write_part(tmp_path, piece, results(piece.records), STAMP, seconds=0)
    with pytest.raises(CacheError, match="shard 00000 is missing"):
        resume.tidy(tmp_path, [piece])
    resume.merge(tmp_path, piece, STAMP, process=0)
    resume.write_part(tmp_path, piece, results(piece.records[:2]), STAMP, seconds=0)
    (tmp_path / ".shard.h5.partial").touch()
    resume.tidy(tmp_path, [piece])
    assert [path.name for path in tmp_path.iterdir()] == ["shard-000-00000.h5"]


def test_other_settings_are_refused_by_name_once_results_exist(piece, tmp_path):
    resume.refuse_other_settings(tmp_path, {"margin": 0.1}, STAMP)  # an empty folder is fine
    for content in ('{"margin": 0.3}', "{"):
        (tmp_path / "settings.json").write_text(content)
        resume.refuse_other_settings(tmp_path, {"margin": 0.1}, STAMP)
    resume.write_settings(tmp_path, {"margin": 0.1})
    resume.write_part(tmp_path, piece, results(piece.records[:2]), STAMP, seconds=0)
    resume.refuse_other_settings(tmp_path, {"margin": 0.1}, STAMP)
    with pytest.raises(CacheError, match=r"made with margin 0.1, not 0.2"):
        resume.refuse_other_settings(tmp_path, {"margin": 0.2}, replace(STAMP, config_hash="other"))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"margin": 7}'])
def test_damaged_settings_do_not_lock_a_run_out_of_its_own_shards(piece, tmp_path, content):
    resume.write_part(tmp_path, piece, results(piece.records[:2]), STAMP, seconds=0)
    (tmp_path / "settings.json").write_bytes(content)
    resume.refuse_other_settings(tmp_path, {"margin": 0.1}, STAMP)
    with pytest.raises(CacheError, match=r"made with|cannot be read"):
        resume.refuse_other_settings(tmp_path, {"margin": 0.1}, replace(STAMP, config_hash="other"))


@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_part_is_reduced_to_intact_samples_and_the_rest_is_pending(piece, tmp_path, capsys, cut):
    batches = piece.records[:4], piece.records[4:]
    first, second = (resume.write_part(tmp_path, piece, results(batch), STAMP, seconds=0) for batch in batches)
    content = bytearray(first.read_bytes())
    if cut:
        del content[-100:]
    else:
        content[content.find(results(batches[0])[0].image.tobytes())] ^= 1
    first.write_bytes(content)
    lost = batches[0] if cut else batches[0][:1]
    assert resume.pending(tmp_path, piece, STAMP) == lost
    assert f"{first}: 1 damaged" in capsys.readouterr().err
    resume.write_part(tmp_path, piece, results(lost), STAMP, seconds=0)
    resume.merge(tmp_path, piece, STAMP, process=0)
    samples, set_aside = read_shard(shard_paths(tmp_path)[0], STAMP)
    assert [sample.image_id for sample in samples] == [100, 101, 102, 103, 104, 106, 107]
    assert [item.image_id for item in set_aside] == [105]
    assert second not in tmp_path.iterdir()


def test_images_set_aside_are_tried_again_and_samples_are_kept(piece, tmp_path):
    resume.write_part(tmp_path, piece, results(piece.records), STAMP, seconds=0)
    resume.retry_set_aside(tmp_path, STAMP)  # in a part
    assert [record.image_id for record in resume.pending(tmp_path, piece, STAMP)] == [105]
    resume.write_part(tmp_path, piece, results(piece.records[5:6]), STAMP, seconds=0)
    resume.merge(tmp_path, piece, STAMP, process=0)
    resume.retry_set_aside(tmp_path, STAMP)  # in a shard
    assert not shard_paths(tmp_path)
    assert [record.image_id for record in resume.pending(tmp_path, piece, STAMP)] == [105]
    resume.write_part(tmp_path, piece, results(piece.records[5:6]), STAMP, seconds=0)
    resume.merge(tmp_path, piece, STAMP, process=0)
    samples, set_aside = read_shard(shard_paths(tmp_path)[0], STAMP)
    assert ([len(samples)], [item.image_id for item in set_aside]) == ([7], [105])


def test_overlapping_parts_lose_nothing_when_one_is_damaged(piece, tmp_path):
    # Both remain if a process is killed between writing a shard and removing its parts, and the shard is then damaged.
    early = resume.write_part(tmp_path, piece, results(piece.records[:2]), STAMP, seconds=0)
    kept = tmp_path / "part-00000-kept.h5"
    write_shard(kept, [item for item in results(piece.records[:4]) if isinstance(item, Sample)], [], STAMP)
    content = bytearray(kept.read_bytes())
    content[content.find(results(piece.records[1:2])[0].image.tobytes())] ^= 1
    kept.write_bytes(content)
    todo = resume.pending(tmp_path, piece, STAMP)
    assert early.exists()
    resume.write_part(tmp_path, piece, results(todo), STAMP, seconds=0)
    resume.merge(tmp_path, piece, STAMP, process=0)
    samples, _ = read_shard(shard_paths(tmp_path)[0], STAMP)
    assert [sample.image_id for sample in samples] == [100, 101, 102, 103, 104, 106, 107]

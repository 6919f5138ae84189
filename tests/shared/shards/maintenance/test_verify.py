import json
import shutil
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import ImageRecord
from boxpromptiml.manifests.manifest import write_manifest
from boxpromptiml.runtime.locks import LockedError, exclusive_lock
from boxpromptiml.runtime.provenance import content_hash, file_sha256
from boxpromptiml.shards import CacheError, open_shard, read_shard, write_shard
from boxpromptiml.shards.maintenance import verify

WHOLE, REPAIRED, DAMAGED = 0, 3, 4


@pytest.fixture
def problems(tmp_path):
    """Function that verifies a cache and returns the exit code and the findings as (file, image id, text)."""

    def problems(cache, **arguments):
        code = verify(cache, out=tmp_path / "verify.json", workers=1, overwrite=True, **arguments)
        found = json.loads((tmp_path / "verify.json").read_text())["problems"]
        return code, [(p["file"], p["image_id"], p["what"]) for p in found]

    return problems


def test_a_freshly_written_cache_is_intact(cache, problems, capsys):
    assert problems(cache) == (WHOLE, [])
    assert "6 samples in 2 shards, intact" in capsys.readouterr().out


def test_damage_is_named_by_shard_and_image_and_changes_nothing(cache, problems, flip, capsys):
    flip(cache / "shard-001-00000.h5", 2, boxes=2)
    before = {path.name: path.read_bytes() for path in cache.iterdir()}
    code, found = problems(cache)
    assert code == DAMAGED
    assert found == [("shard-001-00000.h5", 2, "damaged, its checksum differs")]
    assert "shard-001-00000.h5: image 2: damaged" in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in cache.iterdir()}


def test_missing_and_truncated_shards_are_distinguished(cache, problems):
    first, second = cache / "shard-001-00000.h5", cache / "shard-000-00001.h5"
    first.unlink()
    second.write_bytes(second.read_bytes()[:-9])
    code, found = problems(cache)
    assert code == DAMAGED
    assert (first.name, None, "missing") in found
    assert any(name == second.name and "damaged or cut off" in what for name, _, what in found)


def test_a_shard_of_another_run_is_recognized_by_its_stamp(cache, problems, stamp, make_sample):
    write_shard(cache / "shard-000-00002.h5", [make_sample(9)], [], replace(stamp, weights_sha256="abc"))
    assert ("shard-000-00002.h5", None, "made with weights_sha256 abc, but most shards with none") in problems(cache)[1]


def test_a_damaged_stamp_in_the_index_costs_no_shard(cache, problems, stamp):
    index = (cache / "index.json").read_text()
    (cache / "index.json").write_text(index.replace(stamp.config_hash, "0" * 16))
    assert ("index.json", None, "its stamp differs from that of its shards") in problems(cache)[1]
    assert problems(cache, repair=True)[0] == REPAIRED
    assert len(list(cache.glob("shard-*.h5"))) == 2


def test_duplicate_samples_and_foreign_files_are_found(cache, problems):
    shutil.copy(cache / "shard-000-00001.h5", cache / "shard-000-00002.h5")
    _, found = problems(cache)
    assert ("shard-000-00002.h5", 4, "also in shard-000-00001.h5") in found
    assert ("shard-000-00002.h5", None, "not in the index") in found


@pytest.fixture
def from_manifest(make_cache, stamp, tmp_path):
    """Function that writes a manifest of images 0 to count - 1 and a cache made from it."""

    def from_manifest(count=7):
        path = tmp_path / "manifest.json"
        boxes = as_boxes([(0, 0, 4, 4)])
        write_manifest(
            path, [ImageRecord(i, tmp_path / f"{i}.png", 640, 480, boxes, "train", "set") for i in range(count)]
        )
        settings = {"manifest": file_sha256(path), "margin": 0.05, "splits": None}
        return path, make_cache(f"of {count}", stamp=replace(stamp, config_hash=content_hash(settings)), **settings)

    return from_manifest


def test_samples_missing_from_or_unknown_to_the_manifest_are_found(problems, from_manifest):
    manifest, cache = from_manifest()
    shard = cache / "shard-001-00000.h5"
    samples, set_aside = read_shard(shard, None)
    write_shard(shard, [sample for sample in samples if sample.image_id != 1], set_aside, open_shard(shard, None).stamp)
    missing = [p for p in problems(cache, manifest=manifest)[1] if p[2] == "missing in the cache"]
    assert missing == [("manifest.json", 1, "missing in the cache")]
    manifest, cache = from_manifest(4)
    strange = [p for p in problems(cache, manifest=manifest)[1] if "not in the manifest" in p[2]]
    assert strange == [("manifest.json", i, "in the cache, but not in the manifest") for i in (4, 5)]


def test_a_repair_with_another_manifest_is_refused(from_manifest):
    manifest, cache = from_manifest()
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(CacheError, match=r"manifest\.json: not the manifest that .* was made from"):
        verify(cache, manifest, repair=True, workers=1)
    assert (cache / "index.json").exists()


def test_settings_are_checked_against_the_stamp_of_the_shards(cache, problems):
    settings = (cache / "settings.json").read_text()
    (cache / "settings.json").write_text(settings.replace("0.05", "0.06"))
    assert problems(cache)[1] == [("settings.json", None, "does not match the stamp of the shards")]


def test_repair_keeps_every_intact_sample_for_the_next_run(cache, problems, flip, stamp, capsys):
    flip(cache / "shard-001-00000.h5", 2, boxes=2)
    code, _ = problems(cache, repair=True)
    assert code == REPAIRED
    assert "run the same `boxpromptiml pseudomasks` command again" in capsys.readouterr().out
    assert not (cache / "index.json").exists()
    kept = [path for path in cache.glob("*.h5") if path.name.startswith("part-00000")]
    assert [sample.image_id for sample in read_shard(kept[0], stamp)[0]] == [0, 1, 3]
    assert len(read_shard(cache / "shard-000-00001.h5", stamp)[0]) == 2


def test_repair_removes_duplicates_and_sets_shards_of_another_run_aside(cache, problems, stamp):
    shutil.copy(cache / "shard-000-00001.h5", cache / "shard-003-00001.h5")  # the same shard twice: one is kept
    shutil.copy(cache / "shard-001-00000.h5", cache / "shard-000-00002.h5")  # a conflicting one: neither is trusted
    write_shard(cache / "shard-000-00003.h5", [], [], replace(stamp, teacher="sam_vit_b"))
    assert problems(cache, repair=True)[0] == REPAIRED
    assert [path.name[-8:] for path in cache.glob("shard-*.h5")] == ["00001.h5"]
    assert (cache / "shard-000-00003.h5.foreign").exists()


def test_the_stamp_of_the_majority_of_shards_counts(cache, problems, stamp, make_sample):
    write_shard(cache / "shard-000-00002.h5", [make_sample(8)], [], replace(stamp, teacher="sam_vit_b"))
    (cache / "shard-001-00000.h5").rename(cache / "shard-001-00009.h5")
    write_shard(cache / "shard-000-00000.h5", [make_sample(9)], [], replace(stamp, teacher="sam_vit_b"))
    write_shard(cache / "shard-000-00010.h5", [make_sample(10)], [], stamp)
    (cache / "index.json").unlink()
    problems(cache, repair=True)
    assert sorted(path.name for path in cache.glob("*.foreign")) == [
        "shard-000-00000.h5.foreign",
        "shard-000-00002.h5.foreign",
    ]


@pytest.mark.parametrize("origin", ["merged", "pruned"])
def test_a_derived_cache_must_be_made_again_instead_of_repaired(cache, flip, origin):
    flip(cache / "shard-001-00000.h5", 2, boxes=2)
    (cache / "settings.json").write_text(json.dumps({origin: "a"}))
    with pytest.raises(CacheError, match=f"was {origin} from other caches; delete it"):
        verify(cache, repair=True, workers=1)
    assert (cache / "index.json").exists()
    assert np.array_equal(open_shard(cache / "shard-001-00000.h5", None).image_ids, [0, 1, 2, 3])


def test_nothing_is_repaired_during_a_run(cache, tmp_path):
    context = get_context("spawn")
    began, ended = context.Event(), context.Event()
    run = context.Process(target=_hold, args=(cache, began, ended))
    run.start()
    assert began.wait(60)
    with pytest.raises(LockedError, match="in use by"):
        verify(cache, repair=True, workers=1)
    ended.set()
    run.join()


def _hold(cache, began, ended):
    with exclusive_lock(cache):
        began.set()
        ended.wait(60)


def test_an_incomplete_cache_is_reported_and_a_folder_without_one_is_an_error(cache, problems, tmp_path):
    (cache / "index.json").unlink()
    code, found = problems(cache)
    assert code == DAMAGED
    assert "incomplete" in found[0][2]
    with pytest.raises(CacheError, match="no cache in this folder"):
        verify(tmp_path / "nothing")


def test_several_processes_find_the_same_as_one(cache, flip, tmp_path):
    flip(cache / "shard-001-00000.h5", 2, boxes=2)
    for workers in (1, 2):
        assert verify(cache, out=tmp_path / f"{workers}.json", workers=workers) == DAMAGED
    assert (tmp_path / "1.json").read_text() == (tmp_path / "2.json").read_text()

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

from boxpromptiml import images
from boxpromptiml.core.records import InputError, Stamp
from boxpromptiml.manifests.manifest import ManifestError, read_manifest, write_manifest
from boxpromptiml.shards import SCHEMA, CacheError, ShardReader, read_index, shard_paths
from stage1_pseudomask.generate import pseudomasks
from stage1_pseudomask.teachers.grabcut import GrabCut

SIZE = 32
SCRIPT = """
import os, sys, time
from pathlib import Path
from stage1_pseudomask.generate import pseudomasks
from stage1_pseudomask.teachers.grabcut import GrabCut

class Logged(GrabCut):  # writes down how many images it was asked about, and takes its time
    def embed(self, photos):
        with open(sys.argv[3], "a") as log:
            log.write("x" * len(photos))
        time.sleep(float(sys.argv[4]))
        return super().embed(photos)

if __name__ == "__main__":
    sys.exit(pseudomasks(Path(sys.argv[1]), Path(sys.argv[2]), Logged(threads=1), size=32, shard_size=5, batch_size=2,
                         workers=0, accelerator="cpu", devices=int(sys.argv[5])))
"""


def generate(manifest, out, **arguments):
    settings = {"size": SIZE, "shard_size": 5, "batch_size": 2, "workers": 0, "accelerator": "cpu", "devices": 1}
    return pseudomasks(manifest, out, GrabCut(threads=1), **(settings | arguments))


@pytest.fixture(scope="module")
def undisturbed(manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "cache"
    assert generate(manifest, out) == 3
    return out


@pytest.fixture
def start(manifest, tmp_path):
    """Function that starts the script in a new process: start(cache, processes, seconds per batch)."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)

    def start(out, processes=1, delay=0.0, **pipes):
        words = [script, manifest, out, tmp_path / "log", delay, processes]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, *map(str, words)], env=environment, start_new_session=True, **pipes)

    return start


def datasets(cache):
    """Every dataset of every shard, by shard and name."""
    found = {}
    for place, path in shard_paths(cache).items():
        with h5py.File(path) as file:
            found |= {(place, name): (data.dtype, data[()].tobytes()) for name, data in file.items()}
    return found


def wait_for(condition, seconds=90):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "took too long"
        time.sleep(0.01)


def test_a_cache_contains_every_usable_image_in_manifest_order(manifest, undisturbed):
    reader = ShardReader(undisturbed)
    records = {record.image_id: record for record in read_manifest(manifest).records}
    assert reader.image_ids.tolist() == [100 + i for i in range(22) if i not in (5, 17)]
    for i in range(len(reader)):
        sample, record = reader[i], records[int(reader.image_ids[i])]
        assert (sample.width, sample.height, sample.split) == (record.width, record.height, record.split)
        assert (sample.source, sample.kind) == (record.source, record.kind or "")
        factors = [SIZE / record.width, SIZE / record.height] * 2
        assert np.allclose(sample.boxes_xyxy, record.boxes_xyxy * np.array(factors), atol=1e-3)
        photo = images.read_photo(record.path)
        assert np.array_equal(sample.image, images.resize_photo(photo, SIZE, SIZE))
        if record.authentic:
            assert not sample.pseudo_mask.any()
            assert sample.teacher_scores.shape == (0,)
        else:
            assert sample.pseudo_mask.max() == 255
            assert sample.teacher_scores.shape == (len(record.boxes_xyxy),)
        assert (sample.truth is None) == (record.mask_path is None)


def test_pseudo_masks_find_the_disks(undisturbed):
    reader = ShardReader(undisturbed)
    scores = []
    for sample in (reader[i] for i in range(len(reader))):
        if sample.truth is not None and len(sample.boxes_xyxy) == 1:
            mask, truth = sample.pseudo_mask > 127, sample.truth > 127
            scores.append((mask & truth).sum() / (mask | truth).sum())
    assert np.mean(scores) > 0.9


def test_broken_images_are_set_aside_and_reported(manifest, undisturbed, capsys):
    set_aside = {item.image_id: item for item in read_index(undisturbed).set_aside}
    assert set(set_aside) == {105, 117}
    assert set_aside[105].file.endswith("empty.png")
    assert "empty" in set_aside[105].reason
    assert "export the mask at the image's size" in set_aside[117].reason
    assert generate(manifest, undisturbed) == 3
    printed = capsys.readouterr()
    assert "nothing to do" in printed.out
    assert "empty.png" in printed.err


def test_only_the_requested_splits_are_processed(manifest, tmp_path):
    assert generate(manifest, tmp_path / "cache", splits=["val"]) == 3
    assert ShardReader(tmp_path / "cache").image_ids.tolist() == [115, 116, 118, 119, 120, 121]
    with pytest.raises(ManifestError, match="no usable image in splits"):
        generate(manifest, tmp_path / "none", splits=["test"])


def test_an_image_whose_size_differs_from_the_manifest_is_set_aside(manifest, tmp_path):
    first, *_ = read_manifest(manifest).records
    other = tmp_path / "manifest.json"
    write_manifest(other, [replace(first, width=70)], root=manifest.parent)
    assert generate(other, tmp_path / "cache") == 3
    (reason,) = (item.reason for item in read_index(tmp_path / "cache").set_aside)
    assert "60×40" in reason
    assert "70×40" in reason


@pytest.mark.parametrize("arguments", [{"batch_size": 7}, {"workers": 2}])
def test_batches_and_workers_do_not_change_the_cache(manifest, undisturbed, tmp_path, arguments):
    generate(manifest, tmp_path / "cache", **arguments)
    assert datasets(tmp_path / "cache") == datasets(undisturbed)


@pytest.mark.timeout(240)
def test_a_killed_run_resumes_where_it_stopped(manifest, undisturbed, tmp_path, start):
    out = tmp_path / "cache"
    process = start(out, delay=0.3)
    wait_for(lambda: len(list(out.glob("shard-*.h5"))) >= 1 and len(list(out.glob("part-*.h5"))) >= 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "index.json").exists()
    with pytest.raises(CacheError, match="incomplete"):
        ShardReader(out)
    assert generate_logged(manifest, out, tmp_path / "log") == 3
    assert datasets(out) == datasets(undisturbed)
    assert [item.image_id for item in read_index(out).set_aside] == [105, 117]
    asked = len((tmp_path / "log").read_text())
    assert 18 <= asked <= 18 + 2  # readable manipulated images, plus at most the batch in flight
    assert not list(out.glob("part-*")) + list(out.glob(".*"))


def generate_logged(manifest, out, log):
    class Logged(GrabCut):
        def embed(self, photos):
            with log.open("a") as stream:
                stream.write("x" * len(photos))
            return super().embed(photos)

    return pseudomasks(
        manifest, out, Logged(), SIZE, shard_size=5, batch_size=2, workers=0, accelerator="cpu", devices=1
    )


@pytest.mark.timeout(280)
def test_runs_killed_and_resumed_with_more_processes_make_the_same_cache(undisturbed, tmp_path, start):
    out = tmp_path / "cache"
    for processes in (1, 2):
        there = len(list(out.glob("*.h5")))
        process = start(out, processes, delay=0.3)
        wait_for(lambda there=there: len(list(out.glob("*.h5"))) > there)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (out / "index.json").exists()
    assert start(out, processes=3).wait(timeout=120) == 3
    assert datasets(out) == datasets(undisturbed)
    assert {path.name[:9] for path in shard_paths(out).values()} > {"shard-000"}
    assert read_index(out).seconds > 0
    asked = len((tmp_path / "log").read_text())
    assert 18 <= asked <= 18 + 3 * 2  # only the batches in flight are repeated


@pytest.mark.timeout(240)
def test_a_dead_process_ends_the_others_with_a_clear_message(manifest, undisturbed, tmp_path, start):
    out = tmp_path / "cache"
    process = start(out, processes=2, delay=1.0, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(out.glob("part-*.h5")) and len((out / ".lock").read_text().splitlines()) == 2)
    other = int((out / ".lock").read_text().splitlines()[1].split()[1])
    os.kill(other, signal.SIGKILL)
    _, output = process.communicate(timeout=120)
    assert process.returncode != 0
    # Lightning polls every five seconds and then ends all processes; sometimes it notices first.
    ours = rf"cache: process {other} on .* died, so the others stop; run the same"
    assert re.search(rf"{ours}|Child process with PID {other} terminated", output)
    assert generate(manifest, out) == 3
    assert datasets(out) == datasets(undisturbed)


@pytest.mark.parametrize(
    ("arguments", "name"), [({"size": 16}, "size"), ({"margin": 0.2}, "margin"), ({"splits": ["val"]}, "splits")]
)
def test_a_cache_made_with_other_settings_is_refused_naming_the_setting(manifest, undisturbed, arguments, name):
    before = {path: path.read_bytes() for path in undisturbed.iterdir()}
    with pytest.raises(CacheError, match=f"made with {name} "):
        generate(manifest, undisturbed, **arguments)
    assert before == {path: path.read_bytes() for path in undisturbed.iterdir()}


def test_a_folder_with_other_files_is_left_unchanged(manifest, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(CacheError, match="contains files that are not part of a cache"):
        generate(manifest, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_full_disk_is_one_line_and_the_rest_is_computed_later(manifest, undisturbed, tmp_path, monkeypatch):
    out = tmp_path / "cache"
    fsync, calls = os.fsync, []

    def fills_up(descriptor):
        calls.append(descriptor)
        if len(calls) == 6:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fills_up)
        with pytest.raises(CacheError, match="No space left on device") as caught:
            generate(manifest, out)
    assert "\n" not in str(caught.value)
    assert generate(manifest, out) == 3
    assert datasets(out) == datasets(undisturbed)


def test_the_stamp_depends_only_on_what_affects_masks(undisturbed, manifest, tmp_path):
    stamp = read_index(undisturbed).stamp
    assert replace(stamp, config_hash="") == Stamp(SCHEMA, SIZE, "grabcut", "", "", stamp.package_version)
    for folder, arguments in {"margin": {"margin": 0.3}, "batch": {"batch_size": 3}}.items():
        generate(manifest, tmp_path / folder, **arguments)
    assert read_index(tmp_path / "margin").stamp.config_hash != stamp.config_hash
    assert read_index(tmp_path / "batch").stamp == stamp


def test_a_repaired_image_is_added_to_a_complete_cache_on_request(manifest, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(manifest.parent, folder)
    whole = (folder / "6.png").read_bytes()
    (folder / "6.png").write_bytes(whole[:50])
    assert generate(folder / "manifest.json", tmp_path / "cache") == 3
    assert 106 not in ShardReader(tmp_path / "cache").image_ids
    (folder / "6.png").write_bytes(whole)
    generate(folder / "manifest.json", tmp_path / "cache")
    assert 106 not in ShardReader(tmp_path / "cache").image_ids
    generate(folder / "manifest.json", tmp_path / "cache", retry=True)
    generate(folder / "manifest.json", tmp_path / "other")
    assert datasets(tmp_path / "cache") == datasets(tmp_path / "other")


@pytest.mark.parametrize("arguments", [{"shard_size": 0}, {"batch_size": 0}, {"batch_size": -1}])
def test_sizes_of_zero_are_refused_before_anything_is_written(manifest, tmp_path, arguments):
    with pytest.raises(InputError, match=rf"{next(iter(arguments))} is -?\d; use a whole number from 1"):
        generate(manifest, tmp_path / "cache", **arguments)
    assert not (tmp_path / "cache").exists()

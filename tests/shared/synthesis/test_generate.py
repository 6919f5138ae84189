import json
import multiprocessing
import time
from collections import Counter

import cv2
import numpy as np
import pytest
from jsonargparse import auto_cli

from boxpromptiml.core.boxes import rasterize
from boxpromptiml.core.records import InputError
from boxpromptiml.images import read_photo, read_record
from boxpromptiml.manifests.manifest import read_manifest
from boxpromptiml.synthesis.generate import synthesize
from boxpromptiml.synthesis.recipe import Recipe, Traces

FEW = {"train": 24, "val": 4, "test": 6, "size": 48, "workers": 1}


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "forgeries"
    assert synthesize(out, **FEW) == 0
    return out


def test_the_manifest_describes_the_files_in_the_folder(made):
    manifest = read_manifest(made / "manifest.json")
    assert manifest.set_aside == []
    assert Counter(record.split for record in manifest.records) == {"train": 24, "val": 4, "test": 6}
    assert {record.kind for record in manifest.records} == {"splice", "copy_move", "removal", None}
    for record in manifest.records:
        assert read_photo(record.path).shape == (record.height, record.width, 3) == (48, 48, 3)
        assert record.authentic == (record.mask_path is None) == (record.kind is None)
        if record.mask_path is not None:
            _, mask = read_record(record)
            assert mask.any()
            assert not (mask & ~rasterize(record.boxes_xyxy, 48, 48)).any()
    listed = {path.name for r in manifest.records for path in (r.path, r.mask_path) if path is not None}
    assert {path.name for path in made.rglob("*.png")} == listed


def test_two_processes_write_the_same_bytes_as_one(made, tmp_path):
    assert synthesize(tmp_path / "again", **FEW | {"workers": 2}) == 0
    assert content(tmp_path / "again") == content(made)


def test_another_seed_makes_other_images(made, tmp_path):
    synthesize(tmp_path / "other", **FEW, seed=1)
    assert content(tmp_path / "other")["images/train-000000.png"] != content(made)["images/train-000000.png"]


def test_a_second_run_changes_nothing_and_other_arguments_are_refused(made):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert synthesize(made, **FEW | {"workers": 2}) == 0
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before
    with pytest.raises(InputError, match="was made with another recipe, seed"):
        synthesize(made, **FEW, seed=5, recipe=Recipe(area=(0.1, 0.3)))


def test_an_interrupted_run_resumes_and_gives_the_same_bytes(tmp_path):
    many = FEW | {"train": 150}
    out = tmp_path / "stopped"
    process = multiprocessing.get_context("spawn").Process(target=synthesize, args=(out,), kwargs=many)
    process.start()
    deadline = time.monotonic() + 60
    while len(list(out.glob("images/train*.png"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.join()
    assert not (out / "manifest.json").exists()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("images/train*.png")}
    assert finished
    assert synthesize(out, **many) == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    for unfinished in out.rglob(".*"):
        unfinished.unlink()
    synthesize(tmp_path / "undisturbed", **many)
    assert content(out) == content(tmp_path / "undisturbed")


def test_no_photo_of_one_split_appears_in_another(photo_folder, tmp_path):
    """Every photo has a distinct hue; a split shows only the hues of its own photos, as host and as donor."""
    bare = Traces()
    recipe = Recipe(
        host=bare, donor=bare, finish=bare, colour_match=0, feather=0, poisson=0, canvas=(1, 1), aspect=(1, 1)
    )
    counts = {"train": 40, "val": 20, "test": 20}
    synthesize(tmp_path / "out", photo_folder, **counts, size=48, kinds=["splice"], recipe=recipe, workers=1)
    seen = {"train": set(), "val": set(), "test": set()}
    for record in read_manifest(tmp_path / "out" / "manifest.json").records:
        pixels = read_photo(record.path).astype(np.float32) / 255
        hues = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[..., 0]
        numbers, sizes = np.unique(np.rint(hues / 30).astype(int) % 12, return_counts=True)
        photos = numbers[sizes > 10].tolist()
        assert len(photos) == (1 if record.authentic else 2)
        seen[record.split] |= set(photos)
    assert len(seen["train"]) + len(seen["val"]) + len(seen["test"]) == 12
    assert set.union(*seen.values()) == set(range(12))
    assert min(map(len, seen.values())) >= 2


def test_objects_are_spliced_and_each_object_photo_is_used_in_one_split(photo_folder, object_folder, tmp_path):
    counts = {"train": 20, "val": 4, "test": 4}
    assert (
        synthesize(tmp_path / "out", photo_folder, [object_folder], **counts, size=48, kinds=["splice"], workers=2) == 0
    )
    log = json.loads((tmp_path / "out" / "synthesis.json").read_text())
    assert len(log["objects"]) == 4
    assert len({(entry["scene"]) for entry in log["objects"]}) == 4


def test_bad_photos_are_set_aside_and_listed(photo_folder, tmp_path, capsys):
    (photo_folder / "empty.jpg").touch()
    (photo_folder / "cut.png").write_bytes((photo_folder / "00.png").read_bytes()[:400])
    for _ in range(2):  # a second run reports them again
        assert synthesize(tmp_path / "out", photo_folder, **FEW) == 3
        output = capsys.readouterr().out
        assert output.count("skipped: ") == 2
        assert "empty.jpg: the file is empty" in output
    assert len(read_manifest(tmp_path / "out" / "manifest.json").records) == 34


def test_photos_added_later_are_noticed(photo_folder, tmp_path):
    synthesize(tmp_path / "out", photo_folder, **FEW)
    (photo_folder / "03.png").rename(photo_folder / "late.png")
    with pytest.raises(InputError, match="another photos"):
        synthesize(tmp_path / "out", photo_folder, **FEW)


def test_a_folder_with_other_content_is_left_unchanged(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="did not write"):
        synthesize(tmp_path, **FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"train": 0, "val": 0, "test": 0}, "nothing to make"),
        ({"val": -1}, "val is -1"),
        ({"size": 8}, "size is 8"),
        ({"kinds": []}, "no kind"),
        ({"authentic_share": 1.5}, "authentic_share is 1.5"),
        ({"looseness": -0.2}, "looseness is -0.2"),
        ({"recipe": Recipe(area=(0.5, 0.4))}, "recipe.area is 0.5 to 0.4"),
    ],
)
def test_invalid_arguments_are_refused(tmp_path, wrong, words):
    with pytest.raises(InputError, match=words):
        synthesize(tmp_path / "out", **FEW | wrong)


def test_authentic_images_only_and_jpeg_output_are_possible(tmp_path):
    assert synthesize(tmp_path / "out", **FEW, kinds=[], authentic_share=1, format="jpg") == 0
    records = read_manifest(tmp_path / "out" / "manifest.json").records
    assert all(record.authentic and record.path.suffix == ".jpg" for record in records)


def test_the_command_line_reaches_every_part_of_the_recipe(tmp_path):
    words = "--train 2 --val 0 --test 0 --size 32 --kinds [removal] --authentic_share 0 --workers 1"
    words += " --recipe.visible 3 --recipe.host.noise 0.5"
    assert auto_cli(synthesize, args=[f"--out={tmp_path / 'out'}", *words.split()], as_positional=False) == 0
    arguments = json.loads((tmp_path / "out" / "synthesis.json").read_text())["settings"]
    assert arguments["recipe"]["visible"] == 3
    assert arguments["recipe"]["host"]["noise"] == 0.5
    assert [r.kind for r in read_manifest(tmp_path / "out" / "manifest.json").records] == ["removal", "removal"]


def test_real_photos_make_forgeries(lab, tmp_path):
    assert synthesize(tmp_path / "out", lab / "photos" / "kodak24", **FEW) == 0
    assert len(read_manifest(tmp_path / "out" / "manifest.json").records) == 34

import json

import msgspec
import numpy as np
import pytest
from PIL import Image

from boxpromptiml import images
from boxpromptiml.cli import main
from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.core.records import InputError
from boxpromptiml.datasets.check.command import check
from boxpromptiml.datasets.check.findings import CODES, Report
from boxpromptiml.manifests.manifest import ManifestError


def checked(data, exit_code, shown=0, **arguments):
    assert check(data.write(), shown=shown, workers=1, overwrite=True, **arguments) == exit_code
    return msgspec.json.decode((data.folder / "set-check/check.json").read_bytes(), type=Report)


def grey_mask(data, image_id, values, name="other.png"):
    images.write_mask(data.folder / name, values)
    data.change(image_id, mask_path=data.folder / name)


def unusable_entry(data, scene):
    data.change(2, boxes_xyxy=as_boxes([]))


def missing_file(data, scene):
    (data.folder / "2.png").unlink()


def unreadable_file(data, scene):
    (data.folder / "2.png").write_bytes((data.folder / "2.png").read_bytes()[:3000])


def size_mismatch(data, scene):
    data.change(2, width=97)


def missing_mask(data, scene):
    (data.folder / "2_mask.png").unlink()


def unreadable_mask(data, scene):
    (data.folder / "2_mask.png").write_bytes(b"")


def mask_size_mismatch(data, scene):
    grey_mask(data, 2, np.ones((80, 95), bool))


def not_a_mask(data, scene):
    Image.fromarray(np.eye(80, 96, dtype=np.uint8)).save(data.folder / "2_mask.png")


def unclear_orientation(data, scene):
    turned = Image.Exif()
    turned[274] = 3
    Image.open(data.folder / "2.png").rotate(180).save(data.folder / "2.png", exif=turned)
    Image.fromarray(np.pad(np.full((60, 60), 255, np.uint8), ((0, 20), (0, 36)))).save(data.folder / "2_mask.png")


def empty_mask(data, scene):
    grey_mask(data, 2, np.zeros((80, 96), bool))


def full_mask(data, scene):
    grey_mask(data, 2, np.indices((80, 96))[0] > 3)


def authentic_with_mask(data, scene):
    data.change(3, mask_path=data.folder / "2_mask.png")


def outside_boxes(data, scene):
    data.change(2, boxes_xyxy=as_boxes([(24, 20, 52, 44)]))  # 4 of 28 rows


def empty_box(data, scene):
    data.change(2, boxes_xyxy=as_boxes([(20, 16, 60, 56), (70, 60, 90, 70)]))


def no_truth(data, scene):
    data.change(7, mask_path=None)


def contradiction(data, scene):
    data.add(scene(1), "train", authentic=True)


def duplicate(data, scene):
    data.add(scene(1), "train")


def near_duplicate(data, scene):
    data.add(images.jpeg_round_trip(scene(1), 80), "train")


def leak(data, scene):
    data.add(images.jpeg_round_trip(scene(1), 80), "val")


def nothing_usable(data, scene):
    for image_id in (1, 2, 4):
        (data.folder / f"{image_id}.png").unlink()


WHERE = {
    "authentic_with_mask": [3],
    "no_truth": [7],
    "contradiction": [2, 10],
    "duplicate": [10],
    "near_duplicate": [10],
}
"""Images concerned by a finding, where not image 2."""


@pytest.mark.parametrize("code", sorted(set(CODES) - {"nothing_usable"}))
def test_each_fault_is_found_where_it_was_planted_and_nowhere_else(clean, scene, code):
    globals()[code](clean, scene)
    severity = CODES[code].severity
    report = checked(clean, {"error": 4, "warning": 3, "note": 0}[severity])
    where = WHERE.get(code, [2])
    assert [(finding.code, finding.image_id) for finding in report.findings] == [(code, i) for i in where]
    assert report.counts == {code: len(where)}
    assert report.set_aside == ({} if severity == "note" else {str(clean.folder / "set.json"): where})
    assert all(finding.text and finding.remedy and finding.file for finding in report.findings)


def test_training_needs_a_manipulated_image(clean, scene):
    nothing_usable(clean, scene)
    report = checked(clean, 4)
    assert report.counts == {"nothing_usable": 1, "missing_file": 3}
    assert report.findings[0].split == "train"


def test_a_clean_set_passes_and_is_shown(clean, capsys):
    report = checked(clean, 0, shown=6)
    assert (report.verdict, report.findings, report.set_aside, report.images) == ("fit", [], {}, 9)
    assert images.read_photo(clean.folder / "set-check/check.png").std() > 10
    assert capsys.readouterr().out.splitlines() == [
        "train: 3 manipulated, 3 of them with a mask; 1 authentic, 0 of them beside their forgery",
        "val: 1 manipulated, 1 of them with a mask; 1 authentic, 0 of them beside their forgery",
        "test: 2 manipulated, 2 of them with a mask; 1 authentic, 0 of them beside their forgery",
        f"fit: 9 images, 0 to skip; {clean.folder / 'set-check/check.json'} and check.png",
    ]


def test_leaks_between_manifests_are_found(clean, scene, tmp_path):
    leak(clean, scene)
    manifests = [clean.write("train.json", ["train"]), clean.write("val.json", ["val"])]
    for manifest in manifests:
        assert check(manifest, workers=1) == 0
    assert check(manifests, out=tmp_path / "both", workers=2) == 4
    report = json.loads((tmp_path / "both/check.json").read_text())
    (finding,) = report["findings"]
    assert finding["file"] == str(tmp_path / "2.png")
    assert finding["other"] == str(tmp_path / "10.png")
    assert "of val" in finding["text"]


def test_the_written_report_matches_its_types(clean, scene):
    leak(clean, scene)
    no_truth(clean, scene)
    report = checked(clean, 4)
    assert json.loads((clean.folder / "set-check/check.json").read_text()) == msgspec.to_builtins(report)
    assert report.splits["test"].images == 2
    assert report.limits.distance == 14


def test_without_the_listed_images_the_rest_passes(clean, scene):
    for plant in (leak, authentic_with_mask, no_truth):
        plant(clean, scene)
    (aside,) = checked(clean, 4).set_aside.values()
    clean.records = [record for record in clean.records if record.image_id not in aside]
    assert checked(clean, 0).verdict == "fit"


def test_thresholds_are_arguments(clean, scene):
    outside_boxes(clean, scene)
    assert checked(clean, 0, outside=0.2).counts == {}
    leak(clean, scene)
    assert checked(clean, 4, outside=0.2, full=0.1).counts["full_mask"] == 7


def test_it_runs_as_a_command(clean, capsys):
    assert main(["check", "--manifest", str(clean.write()), "--workers", "1"]) == 0
    assert main(["check", "--manifest", f"[{clean.write('a.json')},{clean.write('b.json')}]", "--workers", "1"]) == 3
    assert "9 × duplicate" in capsys.readouterr().out


def test_a_manifest_given_twice_is_checked_once(clean):
    assert check([clean.write(), clean.write()], workers=1) == 0


@pytest.mark.parametrize("arguments", [{"outside": 1.5}, {"full": -0.1}, {"distance": 40}, {"shown": -1}])
def test_invalid_arguments_are_refused(clean, arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        check(clean.write(), **arguments)


def test_manifests_without_an_image_are_refused(tmp_path):
    (tmp_path / "set.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(InputError, match="no image is listed"):
        check(tmp_path / "set.json")
    with pytest.raises(ManifestError, match="no such manifest"):
        check(tmp_path / "other.json")


def test_a_manifest_of_unusable_entries_only_fails(tmp_path):
    entry = {"id": 1, "file_name": "a.jpg", "width": 10, "height": 10}
    box = {"id": 1, "image_id": 1, "bbox": [20, 20, 5, 5]}
    (tmp_path / "set.json").write_text(json.dumps({"images": [entry], "annotations": [box]}))
    assert check(tmp_path / "set.json") == 4

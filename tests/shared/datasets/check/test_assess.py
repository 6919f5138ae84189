from boxpromptiml.datasets.check.assess import assess
from boxpromptiml.manifests.manifest import read_manifest


def assessed(data, limits):
    return assess([read_manifest(data.write())], [data.entry(record.image_id) for record in data.records], limits)


def test_split_statistics_leave_out_images_to_set_aside(clean, limits):
    (clean.folder / "1.png").unlink()
    report = assessed(clean, limits)
    assert (report.images, report.splits["train"].images, report.splits["train"].manipulated) == (9, 3, 2)
    assert report.set_aside == {str(clean.folder / "set.json"): [1]}


def test_a_leak_is_an_error_and_its_image_is_to_be_set_aside(clean, scene, limits):
    clean.add(scene(8), "train", authentic=True)
    report = assessed(clean, limits)
    assert report.verdict == "not fit"
    assert report.set_aside == {str(clean.folder / "set.json"): [10]}
    assert report.splits["train"].authentic == 1


def test_an_unusable_image_is_not_compared_with_others(clean, scene, limits):
    clean.add(scene(8), "train")
    (clean.folder / "10_mask.png").unlink()
    assert assessed(clean, limits).counts == {"missing_mask": 1}


def test_findings_are_sorted_by_severity(clean, scene, limits):
    (clean.folder / "1.png").unlink()
    clean.add(scene(8), "train")
    clean.add(scene(3)[::-1].copy(), "train")
    clean.add((scene(3)[::-1] * 0.9).astype("uint8"), "train")
    report = assessed(clean, limits)
    assert list(report.counts) == ["leak", "missing_file", "near_duplicate"]
    assert [finding.code for finding in report.findings] == list(report.counts)


def test_every_split_needs_an_image(clean, limits):
    for image_id in (5, 6):
        (clean.folder / f"{image_id}.png").unlink()
    report = assessed(clean, limits)
    assert report.verdict == "not fit"
    assert report.findings[0].text == "val has no image that can be used"
    assert report.splits["val"].images == 0

"""The calibrated threshold, against scikit-learn and a brute-force search."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from boxpromptiml import Localizer
from boxpromptiml.cli import main
from boxpromptiml.core.records import Stamp
from boxpromptiml.shards import SCHEMA, ShardReader, write_index, write_shard
from stage2_distill.evaluation.threshold_choice import THRESHOLDS
from stage2_distill.model.student import Student


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    student = Student("mobilenetv3_small_050", pretrained=False, image_size=64, channels=16, prototypes=4)
    weights = {f"student.{name}": value for name, value in student.state_dict().items()}
    torch.save({"student": student.arguments, "state_dict": weights}, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


@pytest.mark.parametrize(("against", "images"), [("pseudo_mask", 7), ("truth", 3)])
def test_the_threshold_is_the_best_of_the_val_split_and_is_stored(checkpoint, cache, tmp_path, capsys, against, images):
    arguments = ["--checkpoint", str(checkpoint), "--caches", f"[{cache}]", "--against", against, "--workers", "0"]
    assert main(["calibrate", *arguments, "--out", str(tmp_path / "model"), "--accelerator", "cpu"]) == 0
    localizer = Localizer.load(tmp_path / "model")
    samples = [
        s for s in ShardReader(cache, ["val"]) if not s.authentic and (against != "truth" or s.truth is not None)
    ]
    assert len(samples) == images

    probabilities = {sample.image_id: localizer.localize([sample.image])[0] for sample in samples}

    def mean_f1(threshold):
        scores = []
        for sample in samples:
            target = sample.truth if against == "truth" else sample.pseudo_mask
            mask = probabilities[sample.image_id] > np.float32(threshold)
            scores.append(f1_score((target > 127).ravel(), mask.ravel()))
        return np.mean(scores)

    by_hand = {round(t, 2): mean_f1(t) for t in THRESHOLDS.tolist()}
    assert by_hand[localizer.threshold] == pytest.approx(max(by_hand.values()), abs=1e-6)
    assert f"over {images} " in localizer.calibration
    assert f"{max(by_hand.values()):.3f}; at 0.5 it is {by_hand[0.5]:.3f}" in capsys.readouterr().out


def test_an_empty_ground_truth_of_a_manipulated_image_is_named_and_never_counted(checkpoint, cache, tmp_path, capsys):
    """Its score would be best for empty predictions, which would raise the threshold."""
    samples = [sample for sample in ShardReader(cache, ["val"]) if sample.truth is not None and not sample.authentic]
    spoilt = [dataclasses.replace(samples[0], truth=samples[0].truth * 0), *samples[1:]]
    stamp = Stamp(SCHEMA, 64, "none", "", "0", "0")
    write_shard(tmp_path / "cache/shard-000-00000.h5", spoilt, [], stamp)
    write_index(tmp_path / "cache", stamp)
    arguments = ["--checkpoint", str(checkpoint), "--caches", f"[{tmp_path / 'cache'}]", "--against", "truth"]
    words = [*arguments, "--workers", "0", "--accelerator", "cpu", "--out", str(tmp_path / "model")]
    assert main(["calibrate", *words]) == 3
    output = capsys.readouterr().out
    assert (
        f"skipped: image {samples[0].image_id} of {samples[0].source}: manipulated, but its ground truth is empty"
        in output
    )
    assert f"over {len(samples) - 1} ground-truth masks" in output


def test_masks_without_usable_targets_are_refused(checkpoint, cache, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "stage2_distill.evaluation.threshold_choice.target_of",
        lambda b, _: (b["truth"], torch.zeros(len(b["image"])) > 0),
    )
    arguments = ["--checkpoint", str(checkpoint), "--caches", f"[{cache}]", "--workers", "0", "--accelerator", "cpu"]
    assert main(["calibrate", *arguments, "--out", str(tmp_path / "model")]) == 2
    assert "the other choice for --against" in capsys.readouterr().err
    assert not (tmp_path / "model/config.json").exists()


def test_false_alarms_can_be_limited_and_weights_saved_in_half_precision(checkpoint, cache, tmp_path):
    arguments = ["--checkpoint", str(checkpoint), "--caches", f"[{cache}]", "--workers", "0", "--accelerator", "cpu"]
    authentic = [sample.image for sample in ShardReader(cache, ["val"]) if sample.authentic]
    free, limited = tmp_path / "free", tmp_path / "limited"
    assert main(["calibrate", *arguments, "--out", str(free)]) == 0
    localizer = Localizer.load(free)
    most = np.mean([(p > localizer.threshold).mean() for p in localizer.localize(authentic)])
    limit = most / 2
    assert main(["calibrate", *arguments, "--out", str(limited), "--false_alarms", f"{limit}", "--half", "true"]) == 0
    chosen = Localizer.load(limited)
    assert np.mean([(p > chosen.threshold).mean() for p in chosen.localize(authentic)]) <= limit + 0.01 < most
    assert f"of the pixels of {len(authentic)} authentic images" in chosen.calibration
    large, small = ((folder / "model.safetensors").stat().st_size for folder in (free, limited))
    assert small < 0.6 * large
    for name, value in localizer.student.state_dict().items():
        torch.testing.assert_close(chosen.student.state_dict()[name], value, rtol=1e-3, atol=1e-3)


def test_a_student_can_be_saved_for_other_input_sizes(checkpoint, cache, tmp_path, capsys):
    arguments = ["--checkpoint", str(checkpoint), "--caches", f"[{cache}]", "--workers", "0", "--accelerator", "cpu"]
    sizes = ["--image_size", "96", "--second_size", "64"]
    assert main(["calibrate", *arguments, *sizes, "--out", str(tmp_path / "both")]) == 0
    saved, trained = Localizer.load(tmp_path / "both").student, Student.from_checkpoint(checkpoint)
    assert saved.arguments == trained.arguments | {"image_size": 96, "second_size": 64}
    assert "96 pixels a side, RGB; also localized at 64, and averaged" in (tmp_path / "both/README.md").read_text()
    for name, value in trained.state_dict().items():
        assert torch.equal(saved.state_dict()[name], value)
    assert main(["calibrate", *arguments, "--second_size", "64", "--out", str(tmp_path / "wrong")]) == 2
    assert "second_size 64 is not below image_size 64" in capsys.readouterr().err


def test_a_model_card_of_an_earlier_calibration_is_kept_and_named(checkpoint, cache, tmp_path, capsys):
    arguments = ["--checkpoint", str(checkpoint), "--caches", f"[{cache}]", "--workers", "0", "--accelerator", "cpu"]
    out = tmp_path / "model"
    assert main(["calibrate", *arguments, "--out", str(out)]) == 0
    assert "README.md" not in capsys.readouterr().out
    (out / "README.md").write_text("my student\n| threshold | 2 |\n")
    assert main(["calibrate", *arguments, "--out", str(out), "--against", "truth", "--overwrite"]) == 0
    assert f"{out / 'README.md'}: describes the student that was here before" in capsys.readouterr().out
    assert (out / "README.md").read_text().startswith("my student")

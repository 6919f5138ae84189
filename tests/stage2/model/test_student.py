"""The student: budget, shapes, normalization, and checkpoints that contain no code."""

import pickle

import pytest
import timm
import torch
from fvcore.nn import FlopCountAnalysis
from torch.nn import functional

from boxpromptiml.core.records import InputError
from stage2_distill.model.student import Student, WeightsError, count_macs, count_parameters


@pytest.fixture(scope="module")
def default_student():
    return Student(pretrained=False).eval()


def test_the_default_student_is_within_the_published_budget(default_student):
    assert count_parameters(default_student) <= 5.5e6
    assert count_macs(default_student) <= 1.4e9


def test_the_noise_residual_branch_is_within_the_budget_too(default_student):
    student = Student(pretrained=False, forensic=3)
    assert count_parameters(student) <= 5.5e6
    assert count_macs(default_student) < count_macs(student) <= 1.4e9


def test_the_noise_residual_branch_affects_the_logits_and_is_trained():
    torch.manual_seed(0)
    student = Student("mobilenetv3_small_050", pretrained=False, channels=16, prototypes=4, forensic=2)
    student(torch.rand(2, 3, 64, 64)).logits.square().mean().backward()
    assert student.forensic.weight.grad.abs().max() > 0


def test_macs_agree_with_an_independent_count(default_student):
    counter = FlopCountAnalysis(default_student, torch.zeros(1, 3, 224, 224)).unsupported_ops_warnings(False)
    convolutions_and_linears = sum(counter.by_operator()[name] for name in ("conv", "linear"))
    attention = count_macs(default_student) - convolutions_and_linears  # fvcore does not count fused attention
    assert 0 < attention < 0.15e9


@pytest.mark.parametrize("backbone", ["tiny_vit_5m_224", "mobilenetv4_conv_small", "mobilenetv3_small_050", "resnet18"])
def test_any_backbone_and_size_give_logits_at_the_input_size(backbone):
    student = Student(backbone, pretrained=False, channels=16, prototypes=4).eval()
    with torch.no_grad():
        answer = student(torch.rand(2, 3, 96, 72))
    assert answer.logits.shape == (2, 1, 96, 72)
    assert answer.gate_prior.shape == answer.memory_prior.shape == (2, 1, 12, 9)


def test_the_student_normalizes_its_input():
    student = Student("mobilenetv4_conv_small", pretrained=False).eval()
    image = torch.rand(1, 3, 64, 64)
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)
    )
    with torch.no_grad():
        features = student.backbone((image - mean) / std)[-4:]
        expected = student.fusion(features, (8, 8)).fused
        torch.testing.assert_close(student(image).fused, expected)


SMALL = {"backbone": "mobilenetv3_small_050", "pretrained": False, "channels": 16, "prototypes": 4}


def test_a_second_size_averages_the_logits_of_both_sizes_except_in_training():
    torch.manual_seed(0)
    student = Student(**SMALL, image_size=64, second_size=48, shape_prior=True).eval()
    one = Student(**SMALL, image_size=64, shape_prior=True).eval()
    one.load_state_dict(student.state_dict())
    photos = torch.rand(2, 3, 64, 64)
    smaller = functional.interpolate(photos, (48, 48), mode="bilinear", antialias=True)
    with torch.no_grad():
        both, first, second = student(photos), one(photos), one(smaller)
        enlarged = functional.interpolate(second.logits, (64, 64), mode="bilinear")
        torch.testing.assert_close(both.logits, (first.logits + enlarged) / 2)
        scores = torch.stack([first.score, second.score])
        torch.testing.assert_close(both.score, torch.sigmoid(torch.logit(scores).mean(0)))
        torch.testing.assert_close(both.gate_prior, first.gate_prior)
        torch.manual_seed(1)
        trained = student.train()(photos).logits
        torch.manual_seed(1)
        torch.testing.assert_close(trained, one.train()(photos).logits)
    assert count_macs(student) > count_macs(one)


def test_a_second_size_that_is_not_smaller_is_refused():
    with pytest.raises(InputError, match="second_size 64 is not below image_size 64; set 0 for none"):
        Student(**SMALL, image_size=64, second_size=64)


def test_an_unknown_backbone_is_named():
    with pytest.raises(WeightsError, match="no_such_net"):
        Student("no_such_net", pretrained=False)


def test_missing_pretrained_weights_say_what_to_do(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(WeightsError, match=r"could not be downloaded.*pretrained=false"):
        Student("tiny_vit_5m_224", pretrained=True)


class _Attack:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"student": _Attack()}, protocol=2)])
def test_a_file_that_is_not_a_checkpoint_is_refused_and_never_executed(tmp_path, capsys, content):
    path = tmp_path / "bad.ckpt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad.ckpt: not a readable checkpoint"):
        Student.from_checkpoint(path)
    assert "code ran" not in capsys.readouterr().out


def test_a_checkpoint_restores_its_noise_residual_branch_and_an_older_one_has_none(tmp_path):
    for given in ({"forensic": 2}, {}):
        student = Student("mobilenetv3_small_050", pretrained=False, channels=16, prototypes=4, **given).eval()
        arguments = {name: value for name, value in student.arguments.items() if name != "forensic"} | given
        weights = {f"student.{name}": value for name, value in student.state_dict().items()}
        torch.save({"student": arguments, "state_dict": weights}, tmp_path / "last.ckpt")
        again, image = Student.from_checkpoint(tmp_path / "last.ckpt"), torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(again(image).logits, student(image).logits)


def test_a_student_can_start_from_the_weights_of_an_earlier_one(tmp_path):
    shape = {"backbone": "mobilenetv3_small_050", "pretrained": False, "channels": 16}
    earlier, path = Student(**shape, prototypes=4), tmp_path / "earlier.ckpt"
    weights = {f"student.{name}": value for name, value in earlier.state_dict().items()}
    torch.save({"student": earlier.arguments, "state_dict": weights}, path)
    later = Student(**shape, prototypes=4, image_size=96, weights=str(path))
    assert later.training
    assert (later.arguments | {"image_size": 224}) == earlier.arguments  # no reference to the earlier checkpoint
    for name, value in earlier.state_dict().items():
        assert torch.equal(later.state_dict()[name], value)
    with pytest.raises(WeightsError, match=r"earlier.ckpt: its student has \{'prototypes': 4\}, unlike this one"):
        Student(**shape, prototypes=5, weights=str(path))


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"student": {"backbone": "mobilenetv3_small_050"}, "state_dict": {}}, path)
    with pytest.raises(WeightsError, match=r"other.ckpt: does not hold a student of this version"):
        Student.from_checkpoint(path)


def test_the_saved_arguments_rebuild_the_architecture():
    given = {"backbone": "mobilenetv3_small_050", "channels": 16, "prototypes": 4, "forensic": 2, "alpha": 0.7}
    student = Student(**given, pretrained=False)
    assert not {"self", "pretrained", "weights"} & set(student.arguments)
    assert student.arguments == {**student.arguments, **given}
    again = Student(**student.arguments, pretrained=False)
    assert {n: v.shape for n, v in again.state_dict().items()} == {n: v.shape for n, v in student.state_dict().items()}

"""``--help`` states the valid range of numbers, for functions, classes and their dataclasses."""

import pytest

from boxpromptiml.cli import TRAINER, main


def help_of(capsys, *words):
    """The help of a command as one line, without line breaks."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "option", "output"),
    [
        ("predict", "--threshold", "(a probability from 0 to below 1) (type:"),
        ("prepare", "--val_share", "(a share from 0 to below 1) (type: float"),
        ("pseudomasks", "--batch_size", "(a whole number from 1) (type:"),
        ("cache verify", "--workers", "(a whole number from 1) (type:"),
        ("synthesize", "--recipe.flip", "(a probability from 0 to 1) (type: float"),
        ("synthesize", "--recipe.host.jpeg_quality", "(a quality from 1 to 95) (type:"),
        ("robustness", "--levels.blur", "(an odd number of pixels from 1 to 255) (type:"),
        ("fit", "--data.image_size", "(a number of pixels from 8 to 8192) (type: int"),
        ("fit", "--data.augmentation.flip", "(a share from 0 to 1) (type: float"),
    ],
)
def test_the_help_of_a_number_gives_its_range_once(words, option, output, capsys):
    text = help_of(capsys, *words.split(), "--help_all" if words in TRAINER else "--help")
    of_option = text[text.rindex(f" {option} ") :].split(" --", 2)[1]
    assert of_option.count(output.split(" (type")[0]) == 1
    assert output in of_option


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("pseudomasks --teacher.help stage1_pseudomask.teachers.grabcut.GrabCut", "a share above 0, up to 1"),
        ("fit --model.student.help stage2_distill.model.student.Student", "a number of pixels from 8 to 8192"),
    ],
)
def test_the_help_of_a_class_gives_ranges_too(words, output, capsys):
    assert f"({output}) (type: " in help_of(capsys, *words.split())

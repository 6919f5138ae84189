import pytest

from boxpromptiml.core.records import InputError
from boxpromptiml.scoring.protocol import IMAGES, IN_DISTRIBUTION, PUBLISHED, Scoring, published


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("casia1", "casia1"),
        ("CASIAv1", "casia1"),
        ("casia_v1", "casia1"),
        ("NC16", "nist16"),
        ("Columbia", "columbia"),
        ("Casia_Facebook", "casia1facebook"),
        ("casia1-whatsapp", "casia1whatsapp"),
    ],
)
def test_a_test_set_is_recognized_by_any_of_its_names(spelling, name):
    assert published(spelling) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["casia2", "columbia_facebook", "nist", "demo", ""])
def test_other_sets_have_no_published_scores(name):
    assert published(name) == ()


@pytest.mark.parametrize(("place", "method"), [(0, "BoxPromptIML"), (1, "SCAF"), (2, "WSCL")])
def test_the_published_mean_is_over_the_four_sets(place, method):
    of_sets = [published(name)[place] for name in IN_DISTRIBUTION]
    mean = published("in distribution")[place]
    assert {row.method for row in (*of_sets, mean)} == {method}
    assert mean.f1 == pytest.approx(sum(row.f1 for row in of_sets) / 4, abs=6e-4)


def test_image_counts_are_known_for_sets_with_a_published_score():
    assert set(IMAGES) == set(IN_DISTRIBUTION)


@pytest.mark.parametrize("rules", [{"threshold": 50}, {"threshold": -0.1}, {"image_threshold": 1}])
def test_a_threshold_that_is_not_a_probability_is_refused(rules):
    with pytest.raises(InputError, match=f"{next(iter(rules))} is"):
        Scoring(**rules)

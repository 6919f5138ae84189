import pytest

from boxpromptiml.manifests.labels import listed, open_question


@pytest.mark.parametrize("counts", [{}, {"forged": 3}, {"face": 1}, {"0": 2}])
def test_boxes_of_one_label_mean_what_the_set_is_about(counts):
    assert open_question(counts) is None


def test_several_labels_and_the_contrary_are_asked_about():
    assert "2 labels, splice (1,200), face (1), and not all" in open_question({"face": 1, "splice": 1200})
    assert "labelled ' Real'" in open_question({" Real": 4})


def test_a_line_names_the_most_frequent():
    assert listed({f"c{i}": i for i in range(9)}) == "c8 (8), c7 (7), c6 (6), c5 (5), c4 (4), c3 (3), …"

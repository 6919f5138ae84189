import pytest

from boxpromptiml.manifests.labels import label_ambiguity, listed


@pytest.mark.parametrize("counts", [{}, {"forged": 3}, {"face": 1}, {"0": 2}])
def test_a_single_label_means_manipulated(counts):
    assert label_ambiguity(counts) is None


def test_several_labels_and_a_contradictory_label_are_ambiguous():
    assert "2 labels, splice (1,200), face (1), and some" in label_ambiguity({"face": 1, "splice": 1200})
    assert "labelled ' Real'" in label_ambiguity({" Real": 4})


def test_the_message_names_the_most_frequent_labels():
    assert listed({f"c{i}": i for i in range(9)}) == "c8 (8), c7 (7), c6 (6), c5 (5), c4 (4), c3 (3), …"

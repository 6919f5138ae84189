import json

import pytest

from boxpromptiml.apps.run_results import read_results
from boxpromptiml.core.records import InputError


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_an_empty_folder_holds_nothing(tmp_path):
    results = read_results(tmp_path)
    assert results.scores is None
    assert results.index is None
    assert results.ablation is None


def test_fields_of_other_versions_are_ignored(tmp_path):
    write(tmp_path / "fit/fit.json", {"seconds_fit": 3, "images_train": 5, "invented_later": [1]})
    fit = read_results(tmp_path).fit
    assert fit is not None
    assert (fit.seconds_fit, fit.images_train, fit.parameters) == (3, 5, None)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("test/scores.json", '{"sets": {"demo": {"ima', "boxpromptiml test"),
        ("test/scores.json", {"sets": {"demo": {"images": "many"}}}, r"sets\[...\].images"),
        ("fit/fit.json", {"seconds_fit": 1}, "images_train"),
        ("validate/agreement.json", {"sets": {}}, "boxpromptiml validate"),
        ("predictions/predictions.json", [], "boxpromptiml predict"),
        ("pseudomasks/audit.json", "", "boxpromptiml audit"),
        ("data/manifest.json", "{", "manifest"),
        ("pseudomasks/index.json", "{", "index"),
    ],
)
def test_a_broken_file_is_named_with_a_remedy(tmp_path, file, content, words):
    write(tmp_path / file, content)
    with pytest.raises(InputError, match=words) as caught:
        read_results(tmp_path)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)

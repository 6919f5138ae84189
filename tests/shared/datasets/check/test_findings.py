import pytest

from boxpromptiml.datasets.check.findings import CODES, EXIT_CODES, about, found


def test_codes_are_sorted_by_severity():
    ranks = [("error", "warning", "note").index(code.severity) for code in CODES.values()]
    assert ranks == sorted(ranks)


def test_the_exit_code_of_faulty_data_differs_from_that_of_a_failed_command():
    assert EXIT_CODES == {"fit": 0, "fit without some images": 3, "not fit": 4}


@pytest.mark.parametrize("code", CODES)
def test_a_finding_takes_its_severity_from_its_code(clean, code):
    finding = about(clean.entry(5), code, "what", "other.png")
    assert (finding.severity, finding.remedy) == (CODES[code].severity, CODES[code].remedy)
    assert (finding.split, finding.image_id, finding.file) == ("val", 5, str(clean.folder / "5.png"))
    assert (finding.text, finding.other) == ("what", "other.png")
    assert found(code, "what").image_id is None

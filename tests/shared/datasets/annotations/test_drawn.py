import pytest

from boxpromptiml.datasets.annotations.drawn import AnnotationError, named_split, parse_json, read_lines


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1,\n "b": }', "line 2 column 7"),
        (b'{"a": 1', "line 1"),
        (b"", "not valid JSON"),
        (b"\xff\x00\xfe", "not valid JSON"),
        (b"[" * 100_000, "not laid out as expected"),
        (b'{"a": "\\ud800"}', "surrogates not allowed"),
        (b'{"a": "\\ud83d\\ude00"}', "$[...]"),
        (b'{"a": "wide"}', "$[...]"),
        (b"[1]", "not laid out as expected"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_names_the_place(tmp_path, content, words):
    (tmp_path / "boxes.json").write_bytes(content)
    with pytest.raises(AnnotationError) as caught:
        parse_json(tmp_path / "boxes.json", dict[str, int])
    line = str(caught.value)
    assert line.startswith(str(tmp_path / "boxes.json"))
    assert words in line
    assert "\n" not in line


def test_missing_files_are_named(tmp_path):
    with pytest.raises(AnnotationError, match="no such file"):
        parse_json(tmp_path / "boxes.json", dict)
    with pytest.raises(AnnotationError, match="cannot be read"):
        parse_json(tmp_path, dict)


def test_text_is_read_with_and_without_a_byte_order_mark(tmp_path):
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbf\xc3\xa4\r\nb\n")
    assert read_lines(tmp_path / "names.txt") == ["ä", "b"]
    (tmp_path / "names.txt").write_text("ä\nb\n", encoding="utf-16")
    assert read_lines(tmp_path / "names.txt") == ["ä", "b"]
    (tmp_path / "names.txt").write_bytes(b"ab\xe4")
    with pytest.raises(AnnotationError, match=r"not UTF-8 text \(byte 2\)"):
        read_lines(tmp_path / "names.txt")


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train", "train"),
        ("Validation", "val"),
        ("set/valid/day 1", "val"),
        ("test/train", "train"),
        ("obj_Test_data", "test"),
        ("val2017", "val"),
        ("trainval", None),
        ("trains/aval", None),
        (".", None),
    ],
)
def test_split_names_of_annotation_tools_are_recognized(path, split):
    assert named_split(path) == split

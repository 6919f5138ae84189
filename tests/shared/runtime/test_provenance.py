import hashlib
import json
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.runtime.provenance import (
    OtherResultsError,
    command_line,
    content_hash,
    environment,
    file_sha256,
    write_json,
    write_results,
)


def test_file_hash_equals_that_of_sha256sum(tmp_path):
    content = b"pseudo-mask" * 200_000  # longer than one read
    (tmp_path / "weights.pth").write_bytes(content)
    assert file_sha256(tmp_path / "weights.pth") == hashlib.sha256(content).hexdigest()


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.booleans()), min_size=1))
def test_content_hash_ignores_only_the_order_of_keys(values):
    assert content_hash(values) == content_hash(dict(reversed(values.items())))
    assert len(content_hash(values)) == 16
    key = next(iter(values))
    assert content_hash(values) != content_hash({**values, key: [values[key]]})


def test_content_hash_is_stable_across_versions():
    expected = hashlib.sha256(b'{"size": 256, "teacher": "grabcut"}').hexdigest()[:16]
    assert content_hash({"teacher": "grabcut", "size": 256}) == expected


def test_the_environment_record_has_what_affects_results():
    found = environment()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "lightning", "numpy", "accelerator", "cpus"} <= set(found)
    json.dumps(found)


def test_the_recorded_command_line_leaves_out_local_folders(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/somebody/.venv/bin/boxpromptiml", "fit", "--config", "configs/demo.yaml"])
    assert command_line() == "boxpromptiml fit --config configs/demo.yaml"


def test_json_keeps_names_readable_and_refuses_invalid_values(tmp_path):
    path = tmp_path / "new" / "scores.json"
    write_json(path, {"file": "über.jpg", "f1": 0.5})
    assert "über.jpg" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"f1": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8"))["f1"] == 0.5, "the old file survives a write that fails"


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "index.json"
    write_json(path, [0] * 20_000)
    writer = threading.Thread(target=lambda: [write_json(path, [i] * 20_000) for i in range(20)])
    writer.start()
    lengths = set()
    while writer.is_alive():
        lengths.add(len(json.loads(path.read_text())))
    writer.join()
    assert lengths == {20_000}
    assert [item.name for item in tmp_path.iterdir()] == ["index.json"]


def test_identical_files_are_kept_and_a_different_one_stops_everything(tmp_path, capsys):
    first, second = tmp_path / "new/first.json", tmp_path / "second.json"
    write_results({first: b"1", second: b"2"})
    before = first.stat().st_mtime_ns
    write_results({first: b"1", second: b"2"})
    assert first.stat().st_mtime_ns == before
    with pytest.raises(
        OtherResultsError, match=r"second\.json: already exists with other content.* --overwrite"
    ) as error:
        write_results({tmp_path / "third.json": b"3", second: b"other"})
    assert "\n" not in str(error.value)
    assert not (tmp_path / "third.json").exists()
    assert second.read_bytes() == b"2"
    assert capsys.readouterr().out == ""
    write_results({first: b"1", second: b"other"}, overwrite=True)
    assert capsys.readouterr().out == f"replaced: {second}\n"
    assert second.read_bytes() == b"other"

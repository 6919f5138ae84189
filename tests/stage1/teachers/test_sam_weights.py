import hashlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch
from segment_anything import sam_model_registry

from boxpromptiml.runtime.provenance import file_sha256
from stage1_pseudomask.teachers import sam_weights
from stage1_pseudomask.teachers.sam import SegmentAnything
from stage1_pseudomask.teachers.sam_weights import CHECKPOINT_VARIABLE, CheckpointError


@pytest.fixture
def server(tmp_path):
    """A folder served over HTTP on this machine: (address, folder, list of requested names)."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/", folder, asked
        http.shutdown()


def publish(folder, monkeypatch, content=b"weights"):
    (folder / "small.pth").write_bytes(content)
    monkeypatch.setitem(sam_weights.CHECKPOINTS, "vit_b", ("small.pth", hashlib.sha256(b"weights").hexdigest()))


def test_weights_are_downloaded_once_and_verified(server, tmp_path, monkeypatch):
    address, folder, asked = server
    publish(folder, monkeypatch)
    for _ in range(2):
        path = sam_weights.download("vit_b", tmp_path / "kept", address)
        assert path == tmp_path / "kept/small.pth"
        assert path.read_bytes() == b"weights"
    assert asked == ["/small.pth"]


def test_a_download_with_another_checksum_is_refused_and_not_kept(server, tmp_path, monkeypatch):
    address, folder, _ = server
    publish(folder, monkeypatch, b"something else")
    with pytest.raises(CheckpointError, match="its checksum differs"):
        sam_weights.download("vit_b", tmp_path / "kept", address)
    assert not list((tmp_path / "kept").glob("*"))


def test_without_network_one_line_says_which_file_to_put_where(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        sam_weights.download("vit_h", tmp_path, "http://127.0.0.1:9/")
    message = str(caught.value)
    assert "\n" not in message
    for word in ("vit_h", "http://127.0.0.1:9/sam_vit_h_4b8939.pth", str(tmp_path / "sam_vit_h_4b8939.pth")):
        assert word in message


def test_a_missing_or_foreign_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.pth: no such checkpoint"):
        SegmentAnything("vit_b", checkpoint=tmp_path / "gone.pth").load(torch.device("cpu"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"text\.pth: not the weights of SAM vit_b"):
        sam_weights.build("vit_b", tmp_path / "text.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: not the weights of SAM vit_b") as caught:
        sam_weights.build("vit_b", tmp_path / "other.pth")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_can_be_set_by_the_environment_and_is_identified_by_its_content(tmp_path, monkeypatch):
    (tmp_path / "mine.pth").write_bytes(b"weights")
    monkeypatch.setenv(CHECKPOINT_VARIABLE, str(tmp_path / "mine.pth"))
    assert SegmentAnything("vit_l").weights_sha256 == hashlib.sha256(b"weights").hexdigest()
    monkeypatch.delenv(CHECKPOINT_VARIABLE)
    assert SegmentAnything("vit_l").weights_sha256 == sam_weights.CHECKPOINTS["vit_l"][1]


def test_published_checkpoint_names_match_the_model_registry():
    assert set(sam_weights.CHECKPOINTS) - {"tiny"} < set(sam_model_registry)


def test_the_packaged_weights_are_small_and_unaffected_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(CHECKPOINT_VARIABLE, str(tmp_path / "of_another_variant.pth"))
    path = sam_weights.packaged()
    assert path.stat().st_size < 1_000_000
    assert SegmentAnything("tiny").weights_sha256 == file_sha256(path)
    SegmentAnything("tiny").load(torch.device("cpu"))
    monkeypatch.setitem(sam_weights.CHECKPOINTS, "tiny", ("tiny_sam.pth", "0" * 64))
    with pytest.raises(CheckpointError, match="reinstall boxpromptiml"):
        SegmentAnything("tiny").load(torch.device("cpu"))

import hashlib
import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from scipy import ndimage
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from boxpromptiml.boxes import as_boxes, rasterize, with_margin
from boxpromptiml.images import resize_photo
from boxpromptiml.shards import ShardReader
from stage1_pseudomask.generate import pseudomasks
from stage1_pseudomask.teachers import sam
from stage1_pseudomask.teachers.sam import CHECKPOINT_VARIABLE, CheckpointError, SegmentAnything

SIZES = [(96, 96), (150, 100), (70, 160)]
"""Width and height: square, wide, tall."""
BOXES = [
    as_boxes([(10, 12, 60, 70)]),
    as_boxes([]),
    as_boxes([(5, 5, 30, 40), (20, 60, 65.5, 120.25), (0, 0, 70, 160), (40, 3, 44, 9)]),
]


@pytest.fixture(scope="module")
def small_sam():
    """Segment Anything with one narrow encoder block and random weights; everything else as published."""
    torch.manual_seed(0)
    width = 32
    encoder = ImageEncoderViT(
        depth=1, embed_dim=16, num_heads=2, mlp_ratio=2, out_chans=width, use_rel_pos=True, window_size=14
    )
    prompts = PromptEncoder(width, image_embedding_size=(64, 64), input_image_size=(1024, 1024), mask_in_chans=4)
    transformer = TwoWayTransformer(depth=2, embedding_dim=width, num_heads=2, mlp_dim=32)
    decoder = MaskDecoder(transformer_dim=width, transformer=transformer, iou_head_depth=2, iou_head_hidden_dim=16)
    model = Sam(encoder, prompts, decoder, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]).eval()
    for parameter in (encoder.pos_embed, encoder.blocks[0].attn.rel_pos_h, encoder.blocks[0].attn.rel_pos_w):
        nn.init.normal_(parameter, std=0.5)  # published as zeros, which would hide a mistake in positions
    return model


@pytest.fixture(scope="module")
def photos():
    """Smooth random photos, so that masks are regions and not noise."""
    rng = np.random.default_rng(0)
    return [resize_photo(rng.integers(0, 256, (h // 8, w // 8, 3), dtype=np.uint8), w, h) for w, h in SIZES]


def teach(model, photos, boxes, sizes, **arguments):
    teacher = SegmentAnything("vit_b", **arguments)
    teacher.model = model
    prepare = teacher.preparation()
    return teacher.propose(teacher.embed([prepare(photo) for photo in photos]), boxes, sizes)


def assert_parity(model, photos, boxes, multimask_output):
    sizes = [(photo.shape[1], photo.shape[0]) for photo in photos]
    batched = teach(model, photos, boxes, sizes, multimask_output=multimask_output, boxes_at_once=3)
    predictor = SamPredictor(model)
    for photo, image_boxes, candidates in zip(photos, boxes, batched, strict=True):
        predictor.set_image(photo)
        assert candidates.probability.shape[:2] == (len(image_boxes), 3 if multimask_output else 1)
        assert candidates.probability.shape[2:] == photo.shape[:2]
        for i, box in enumerate(image_boxes):
            logits, scores, _ = predictor.predict(box=box, multimask_output=multimask_output, return_logits=True)
            probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
            assert np.allclose(candidates.probability[i], probability, atol=1e-5)
            sure = np.abs(logits) > 1e-4  # batched arithmetic may round the last digits differently
            assert sure.mean() > 0.99
            assert np.array_equal((candidates.probability[i] > 0.5)[sure], (logits > model.mask_threshold)[sure])
            assert np.allclose(candidates.scores[i], np.clip(scores, 0, 1), atol=1e-5)


@pytest.mark.parametrize("multimask_output", [False, True])
def test_batches_give_the_masks_of_the_predictor_image_by_image(small_sam, photos, multimask_output):
    assert_parity(small_sam, photos, BOXES, multimask_output)


def test_random_masks_are_not_trivial(small_sam, photos):
    shares = [c.probability > 0.5 for c in teach(small_sam, photos, BOXES, SIZES) if len(c.probability)]
    assert any(0.02 < mask.mean() < 0.98 for mask in shares)


def test_a_smaller_frame_gives_the_same_scores(small_sam, photos):
    full = teach(small_sam, photos[:1], BOXES[:1], [(96, 96)])[0]
    half = teach(small_sam, photos[:1], [BOXES[0] / 2], [(48, 48)])[0]
    assert half.probability.shape == (1, 1, 48, 48)
    assert np.allclose(full.scores, half.scores, atol=1e-4)


def test_half_precision_stays_close(small_sam, photos):
    exact = teach(small_sam, photos, BOXES, SIZES)
    with torch.autocast("cpu", torch.bfloat16):
        rough = teach(small_sam, photos, BOXES, SIZES)
    for a, b in zip(exact, rough, strict=True):
        assert b.probability.dtype == np.float32
        assert np.allclose(a.probability, b.probability, atol=0.1)


def test_a_whole_cache_of_it(small_sam, manifest, tmp_path, monkeypatch):
    (tmp_path / "small.pth").write_bytes(b"weights")
    monkeypatch.setattr(sam, "build", lambda variant, path: small_sam)
    teacher = SegmentAnything("vit_b", checkpoint=tmp_path / "small.pth")
    code = pseudomasks(
        manifest, tmp_path / "cache", teacher, size=64, margin=0.1, accelerator="cpu", devices=1, precision="bf16-mixed"
    )
    assert code == 3  # two photos are broken
    reader = ShardReader(tmp_path / "cache")
    assert reader.index.stamp.teacher == "sam_vit_b"
    assert reader.index.stamp.weights_sha256 == hashlib.sha256(b"weights").hexdigest()
    for sample in (reader[i] for i in range(len(reader))):
        reach = rasterize(with_margin(sample.boxes_xyxy, 0.1, 64, 64), 64, 64)
        near = ndimage.binary_dilation(reach, np.ones((3, 3)))  # resized from another frame
        assert not sample.pseudo_mask[~near].any()
        assert sample.authentic or sample.pseudo_mask.any()


@pytest.mark.weights
@pytest.mark.timeout(1800)
def test_parity_holds_with_real_weights(photos):
    path = os.environ.get(CHECKPOINT_VARIABLE)
    if not path:
        pytest.skip(f"{CHECKPOINT_VARIABLE} names no file")
    (variant,) = (v for v in sam.CHECKPOINTS if v in Path(path).name)
    assert_parity(sam.build(variant, Path(path)), photos, BOXES, multimask_output=False)


@pytest.fixture
def server(tmp_path):
    """A folder served over HTTP on this machine: (address, folder, names asked for)."""
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
    monkeypatch.setitem(sam.CHECKPOINTS, "vit_b", ("small.pth", hashlib.sha256(b"weights").hexdigest()))


def test_weights_are_downloaded_once_and_verified(server, tmp_path, monkeypatch):
    address, folder, asked = server
    publish(folder, monkeypatch)
    for _ in range(2):
        path = sam.download("vit_b", tmp_path / "kept", address)
        assert path == tmp_path / "kept/small.pth"
        assert path.read_bytes() == b"weights"
    assert asked == ["/small.pth"]


def test_a_download_with_another_checksum_is_refused_and_not_kept(server, tmp_path, monkeypatch):
    address, folder, _ = server
    publish(folder, monkeypatch, b"something else")
    with pytest.raises(CheckpointError, match="its checksum differs"):
        sam.download("vit_b", tmp_path / "kept", address)
    assert not list((tmp_path / "kept").glob("*"))


def test_without_network_one_line_says_what_to_put_where(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        sam.download("vit_h", tmp_path, "http://127.0.0.1:9/")
    message = str(caught.value)
    assert "\n" not in message
    for word in ("vit_h", "http://127.0.0.1:9/sam_vit_h_4b8939.pth", str(tmp_path / "sam_vit_h_4b8939.pth")):
        assert word in message


def test_a_missing_or_foreign_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.pth: no such checkpoint"):
        SegmentAnything("vit_b", checkpoint=tmp_path / "gone.pth").load(torch.device("cpu"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"text\.pth: not the weights of SAM vit_b"):
        sam.build("vit_b", tmp_path / "text.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: not the weights of SAM vit_b") as caught:
        sam.build("vit_b", tmp_path / "other.pth")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_can_be_named_by_the_environment_and_identifies_itself(tmp_path, monkeypatch):
    (tmp_path / "mine.pth").write_bytes(b"weights")
    monkeypatch.setenv(CHECKPOINT_VARIABLE, str(tmp_path / "mine.pth"))
    assert SegmentAnything("vit_l").weights_sha256 == hashlib.sha256(b"weights").hexdigest()
    monkeypatch.delenv(CHECKPOINT_VARIABLE)
    assert SegmentAnything("vit_l").weights_sha256 == sam.CHECKPOINTS["vit_l"][1]


def test_published_names_fit_the_package():
    assert set(sam.CHECKPOINTS) < set(sam_model_registry)

"""Batches against the library's own processor and model, one image at a time, for random weights of each family."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from boxpromptiml.boxes import as_boxes
from boxpromptiml.provenance import file_sha256
from boxpromptiml.records import InputError
from boxpromptiml.shards import ShardReader
from stage1_pseudomask.generate import pseudomasks

transformers = pytest.importorskip("transformers")

from stage1_pseudomask.teachers.transformers_sam import TransformersSam  # noqa: E402  (imports it)

SIDE = 64
WIDTH = 32
DECODER = {"hidden_size": WIDTH, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
PROMPTS = {"hidden_size": WIDTH, "image_size": SIDE, "patch_size": 8}
LONGEST = {"size": {"longest_edge": SIDE}, "pad_size": {"height": SIDE, "width": SIDE}}
SQUARE = {"size": {"height": SIDE, "width": SIDE}}
FAMILIES = ("sam", "sam_hq", "sam2")
SIZES = {"portrait": (40, 90), "landscape": (130, 57), "one pixel": (1, 1), "square": (64, 64), "large": (301, 200)}
"""Width and height."""


def configs(vision, prompts, decoder={}):  # noqa: B006 (read only)
    return {
        "vision_config": vision,
        "prompt_encoder_config": PROMPTS | prompts,
        "mask_decoder_config": DECODER | decoder,
    }


def vision():
    return {
        **{"hidden_size": 32, "output_channels": WIDTH, "num_hidden_layers": 3, "num_attention_heads": 2},
        **{"image_size": SIDE, "patch_size": 8, "window_size": 3, "global_attn_indexes": [1], "mlp_dim": 64},
        "num_pos_feats": WIDTH // 2,
    }


def sam():
    config = transformers.SamConfig(**configs(vision(), {"image_embedding_size": SIDE // 8}))
    images = transformers.SamImageProcessor(**LONGEST)
    return transformers.SamModel(config), transformers.SamProcessor(images)


def sam_hq():
    config = transformers.SamHQConfig(**configs(vision(), {"image_embedding_size": SIDE // 8}, {"vit_dim": 32}))
    images = transformers.SamImageProcessor(**LONGEST)
    return transformers.SamHQModel(config), transformers.SamHQProcessor(images)


def sam2():
    widths = [16, 32, 64, 128]
    hiera = {
        **{"hidden_size": 16, "image_size": [SIDE, SIDE], "blocks_per_stage": [1, 2, 1, 1]},
        **{"embed_dim_per_stage": widths, "num_attention_heads_per_stage": [1, 2, 2, 4]},
        **{"window_size_per_stage": [4, 4, 2, 2], "global_attention_blocks": [2], "model_type": "sam2_hiera_det_model"},
    }
    seen = {
        **{"backbone_config": hiera, "backbone_channel_list": widths[::-1], "fpn_hidden_size": WIDTH},
        "backbone_feature_sizes": [[SIDE // stride] * 2 for stride in (4, 8, 16)],
    }
    config = transformers.Sam2Config(**configs(transformers.Sam2VisionConfig(**seen), {"patch_size": 16}))
    images = transformers.Sam2ImageProcessor(**SQUARE)
    return transformers.Sam2Model(config), transformers.Sam2Processor(images)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """For each family a folder as the hub has it, its model and its processor."""
    torch.manual_seed(0)
    families = {}
    for name, make in (("sam", sam), ("sam_hq", sam_hq), ("sam2", sam2)):
        model, processor = make()
        with torch.no_grad():
            for weight in model.parameters():  # what the library starts from hardly looks at the image
                weight.add_(torch.randn_like(weight) * 0.15)
        folder = tmp_path_factory.mktemp("hub") / name
        model.eval().save_pretrained(folder)
        processor.save_pretrained(folder)
        families[name] = folder, model, processor
    return families


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in SIZES.values()]


@pytest.fixture(scope="module")
def boxes(photos):
    """Many for the first photo, one of a single pixel and one that is the whole photo among those of the others."""
    rng = np.random.default_rng(4)
    drawn = []
    for i, photo in enumerate(photos):
        height, width = photo.shape[:2]
        corners = rng.uniform(0, 0.5, (23 if i == 0 else i, 2))
        some = np.concatenate([corners, corners + rng.uniform(0.1, 0.5, corners.shape)], axis=1) * ([width, height] * 2)
        drawn.append(np.concatenate([as_boxes([(0, 0, width, height), (0, 0, 1, 1)]), as_boxes(some)]))
    return drawn


def loaded(folder, **arguments):
    teacher = TransformersSam(str(folder), **arguments)
    teacher.load(torch.device("cpu"))
    return teacher


def teach(teacher, photos, boxes):
    prepare = pickle.loads(pickle.dumps(teacher.preparation()))  # as for a loader worker
    frames = [(photo.shape[1], photo.shape[0]) for photo in photos]
    return teacher.propose(teacher.embed([prepare(photo) for photo in photos]), boxes, frames)


def one_by_one(model, processor, photos, boxes, multimask_output):
    """For each photo (N, C, H, W) logits and (N, C) scores, by the library alone."""
    for photo, xyxy in zip(photos, boxes, strict=True):
        inputs = processor(
            images=photo, input_boxes=[xyxy.tolist()], input_data_format="channels_last", return_tensors="pt"
        )
        sizes = [inputs.pop("original_sizes")]
        sizes += [inputs.pop("reshaped_input_sizes")] if "reshaped_input_sizes" in inputs else []
        inputs["input_boxes"] = inputs["input_boxes"].float()
        with torch.inference_mode():
            answer = model(**inputs, multimask_output=multimask_output)
        (logits,) = processor.post_process_masks(list(answer.pred_masks), *sizes, binarize=False)
        yield logits, answer.iou_scores[0]


@pytest.mark.parametrize("multimask_output", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_batches_give_the_masks_of_the_library_image_by_image(made, photos, boxes, family, multimask_output):
    folder, model, processor = made[family]
    teacher = loaded(folder, multimask_output=multimask_output, boxes_at_once=7)
    reference = one_by_one(model, processor, photos, boxes, multimask_output)
    answers = teach(teacher, photos, boxes)
    for candidates, (logits, scores) in zip(answers, reference, strict=True):
        assert candidates.probability.shape == logits.shape
        assert torch.allclose(candidates.probability, logits.sigmoid(), atol=1e-3)
        assert ((candidates.probability > 0.5) != (logits > 0)).float().mean() < 0.001
        assert torch.allclose(candidates.scores, scores.clamp(0, 1), atol=1e-3)
    many = answers[0].probability[:, 0] > 0.5
    assert 0.02 < many.float().mean() < 0.98  # masks, neither empty nor everything
    assert (many != many[:1]).any(0).any()  # that follow their boxes


@pytest.mark.parametrize("family", FAMILIES)
def test_images_without_boxes_have_no_candidates(made, photos, boxes, family):
    none, one = teach(loaded(made[family][0]), photos[:2], [as_boxes([]), boxes[1][:1]])
    assert none.probability.shape == (0, 1, *photos[0].shape[:2])
    assert one.probability.shape == (1, 1, *photos[1].shape[:2])
    assert [len(each.scores) for each in teach(loaded(made[family][0]), photos[:2], [as_boxes([])] * 2)] == [0, 0]


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_stays_close(made, photos, boxes, family):
    teacher = loaded(made[family][0])
    exact = teach(teacher, photos, boxes)
    with torch.autocast("cpu", torch.bfloat16):
        rough = teach(teacher, photos, boxes)
    for one, other in zip(exact, rough, strict=True):
        assert other.probability.dtype == torch.float32
        assert ((one.probability > 0.5) == (other.probability > 0.5)).float().mean() > 0.95
    assert not torch.equal(exact[0].probability, rough[0].probability)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_photo_as_thin_as_a_hair_is_prepared(made, family):
    prepare = loaded(made[family][0]).preparation()
    assert min(prepare(np.full((1, 3000, 3), 9, np.uint8)).shape[:2]) >= 1
    assert min(prepare(np.full((3000, 1, 3), 9, np.uint8)).shape[:2]) >= 1


def test_a_whole_cache_of_it(made, manifest, tmp_path):
    folder = made["sam2"][0]
    code = pseudomasks(
        manifest, tmp_path / "cache", TransformersSam(str(folder)), 64, accelerator="cpu", devices=1,
        precision="bf16-mixed", workers=0,
    )  # fmt: skip
    assert code == 3  # two photos are broken
    stamp = ShardReader(tmp_path / "cache").index.stamp
    assert stamp.teacher == "sam2"
    assert stamp.weights_sha256 == file_sha256(folder / "model.safetensors")


def test_a_model_of_the_hub_is_known_by_its_commit(made, monkeypatch, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / commit).symlink_to(made["sam"][0])
    asked = []

    def snapshot_download(repository, revision, allow_patterns):
        asked.append((repository, revision, set(allow_patterns)))
        return str(tmp_path / "snapshots" / commit)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    teacher = TransformersSam("somebody/sam-of-theirs", revision="v2")
    assert teacher.name == f"sam:somebody/sam-of-theirs@{commit}"
    teacher.load(torch.device("cpu"))
    assert asked == [("somebody/sam-of-theirs", "v2", {"*.json", "model.safetensors"})]


def test_without_network_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"nobody/nothing: .*'main'.*hf download"):
        assert TransformersSam("nobody/nothing").name


def test_weights_that_hold_code_are_not_read(made, tmp_path):
    for file in made["sam"][0].glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(made["sam"][1].state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"{}"), r"model\.safetensors cannot be used"),
        (lambda folder: (folder / "config.json").write_text("[]"), "names no model_type"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "'bert', which takes no boxes"),
        (lambda folder: drop_a_weight(folder / "model.safetensors"), "1 weights are missing"),
        (lambda folder: (folder / "processor_config.json").unlink(), "image processor cannot be used"),
    ],
)
def test_a_damaged_model_is_refused_in_one_line(made, tmp_path, damage, words):
    for file in made["sam"][0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damage(tmp_path)
    with pytest.raises(InputError, match=words) as refusal:
        loaded(tmp_path).preparation()
    assert str(tmp_path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def drop_a_weight(path: Path):
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    del weights["mask_decoder.iou_token.weight"]
    save_file(weights, path, {"format": "pt"})

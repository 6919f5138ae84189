"""Batched inference against the library's processor and model on single images, with random weights per family."""

import pickle
import re
from functools import cache

import numpy as np
import pytest
import torch

from boxpromptiml.core.boxes import as_boxes
from boxpromptiml.images import ImageError
from boxpromptiml.runtime.provenance import file_sha256
from boxpromptiml.shards import ShardReader
from stage1_pseudomask.generate import pseudomasks
from stage1_pseudomask.teachers import sam_weights
from stage1_pseudomask.teachers.sam import SegmentAnything

transformers = pytest.importorskip("transformers")

from stage1_pseudomask.teachers.transformers_sam import TransformersSam  # noqa: E402  (imports it)

SIDE = 64
WIDTH = 32
DECODER = {"hidden_size": WIDTH, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
PROMPTS = {"hidden_size": WIDTH, "image_size": SIDE, "patch_size": 8}
LONGEST = {"size": {"longest_edge": SIDE}, "pad_size": {"height": SIDE, "width": SIDE}}
SQUARE = {"size": {"height": SIDE, "width": SIDE}}
SIZES = {"portrait": (40, 90), "landscape": (130, 57), "one pixel": (1, 1), "square": (64, 64), "large": (301, 200)}
"""(width, height) of the photos."""


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


def edgetam():
    shape = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    repvit = transformers.TimmWrapperConfig(architecture="repvit_m1", model_args=shape)
    sizes = [[SIDE // stride] * 2 for stride in (4, 8, 16)]
    seen = transformers.EdgeTamVisionConfig(backbone_config=repvit, backbone_feature_sizes=sizes, fpn_hidden_size=WIDTH)
    config = transformers.EdgeTamConfig(**configs(seen, {"patch_size": 16}))
    return transformers.EdgeTamModel(config), transformers.Sam2Processor(transformers.Sam2ImageProcessor(**SQUARE))


def sam3_tracker():
    vit = {
        **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"image_size": SIDE, "patch_size": 8, "pretrain_image_size": SIDE, "window_size": 4},
        **{"global_attn_indexes": [1], "model_type": "sam3_vit_model"},
    }
    sizes = [[SIDE // stride] * 2 for stride in (2, 4, 8)]
    seen = transformers.Sam3VisionConfig(backbone_config=vit, fpn_hidden_size=WIDTH, backbone_feature_sizes=sizes)
    config = transformers.Sam3TrackerConfig(**configs(seen, {}))
    images = transformers.Sam3ImageProcessor(**SQUARE)
    return transformers.Sam3TrackerModel(config), transformers.Sam3TrackerProcessor(images)


RENAMED = {
    **{"image_encoder": "vision_encoder", "blocks": "layers", r"\.norm": ".layer_norm"},
    **{r"patch_embed\.proj": "patch_embed.projection", r"neck\.0": "neck.conv1", r"neck\.1": "neck.layer_norm1"},
    **{r"neck\.2": "neck.conv2", r"neck\.3": "neck.layer_norm2", r"output_upscaling\.0": "upscale_conv1"},
    **{r"output_upscaling\.1": "upscale_layer_norm", r"output_upscaling\.3": "upscale_conv2"},
    **{r"mask_downscaling\.0": "mask_embed.conv1", r"mask_downscaling\.1": "mask_embed.layer_norm1"},
    **{r"mask_downscaling\.3": "mask_embed.conv2", r"mask_downscaling\.4": "mask_embed.layer_norm2"},
    **{r"mask_downscaling\.6": "mask_embed.conv3", "point_embeddings": "point_embed"},
    r"pe_layer\.positional_encoding_gaussian_matrix": "shared_embedding.positional_embedding",
    **{r"(mlps\.\d|head)\.layers\.0": r"\1.proj_in", r"(mlps\.\d)\.layers\.1": r"\1.layers.0"},
    **{r"(mlps\.\d)\.layers\.2": r"\1.proj_out", r"head\.layers\.1": "head.proj_out"},
}
"""Parameter names in segment-anything (regular expressions) → names in transformers."""


MAKERS = {"sam": sam, "sam_hq": sam_hq, "sam2": sam2, "edgetam": edgetam, "sam3_tracker": sam3_tracker}
FAMILIES = tuple(MAKERS)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Function that returns for a model family a folder in the layout of the hub, the model and its processor."""

    @cache
    def made(name):
        torch.manual_seed(0)
        try:
            model, processor = MAKERS[name]()
        except OSError:
            pytest.skip("this version of the library asks the hub for what it starts from")
        with torch.no_grad():
            for weight in model.parameters():  # with the library's initialization, outputs hardly depend on the image
                weight.add_(torch.randn_like(weight) * 0.15)
        folder = tmp_path_factory.mktemp("hub") / name
        model.eval().save_pretrained(folder)
        processor.save_pretrained(folder)
        return folder, model, processor

    return made


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in SIZES.values()]


@pytest.fixture(scope="module")
def boxes(photos):
    """Many boxes for the first photo; those of the others include a single pixel and the whole photo."""
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
    prepare = pickle.loads(pickle.dumps(teacher.preparation()))  # as when sent to a loader worker
    frames = [(photo.shape[1], photo.shape[0]) for photo in photos]
    return teacher.propose(teacher.embed([prepare(photo) for photo in photos]), boxes, frames)


def one_by_one(model, processor, photos, boxes, multimask_output):
    """Logits (N, C, H, W) and scores (N, C) of each photo, computed by the library alone."""
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
def test_batches_give_the_masks_of_the_library(made, photos, boxes, family, multimask_output):
    folder, model, processor = made(family)
    teacher = loaded(folder, multimask_output=multimask_output, boxes_at_once=7)
    reference = one_by_one(model, processor, photos, boxes, multimask_output)
    answers = teach(teacher, photos, boxes)
    for candidates, (logits, scores) in zip(answers, reference, strict=True):
        assert candidates.probability.shape == logits.shape
        assert torch.allclose(candidates.probability, logits.sigmoid(), atol=1e-3)
        assert ((candidates.probability > 0.5) != (logits > 0)).float().mean() < 0.001
        assert torch.allclose(candidates.scores, scores.clamp(0, 1), atol=1e-3)
    many = answers[0].probability[:, 0]
    assert (many - many[:1]).abs().amax((1, 2))[1:].min() > 0.001  # every mask depends on its box


@pytest.mark.parametrize("family", FAMILIES)
def test_images_without_boxes_have_no_candidates(made, photos, boxes, family):
    none, one = teach(loaded(made(family)[0]), photos[:2], [as_boxes([]), boxes[1][:1]])
    assert none.probability.shape == (0, 1, *photos[0].shape[:2])
    assert one.probability.shape == (1, 1, *photos[1].shape[:2])
    assert [len(each.scores) for each in teach(loaded(made(family)[0]), photos[:2], [as_boxes([])] * 2)] == [0, 0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The packaged small network, converted to a model of the library."""
    encoder = {
        **{"hidden_size": 64, "output_channels": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "mlp_dim": 128},
        **{"image_size": 256, "patch_size": 16, "window_size": 7, "global_attn_indexes": [1, 3], "num_pos_feats": 32},
    }
    prompts = {"hidden_size": 64, "image_size": 256, "image_embedding_size": 16}
    decoder = {"hidden_size": 64, "mlp_dim": 128, "num_attention_heads": 4, "iou_head_hidden_dim": 64}
    config = transformers.SamConfig(**configs(encoder, prompts, {**decoder, "iou_head_depth": 2}))
    weights = {renamed(name): weight for name, weight in sam_weights.load("tiny", None, None).state_dict().items()}
    places = "shared_embedding.positional_embedding"
    weights["shared_image_embedding.positional_embedding"] = weights[f"prompt_encoder.{places}"]
    model = transformers.SamModel(config)
    model.load_state_dict(weights)
    folder = tmp_path_factory.mktemp("trained")
    model.save_pretrained(folder)
    transformers.SamImageProcessor(size={"longest_edge": 256}, pad_size={"height": 256, "width": 256}).save_pretrained(
        folder
    )
    return folder


def renamed(name):
    for old, new in RENAMED.items():
        name = re.sub(old, new, name)
    return name


def test_both_libraries_agree_on_a_trained_network(trained, forgeries):
    photos, boxes, _ = zip(*forgeries, strict=True)
    ours = SegmentAnything("tiny")
    ours.load(torch.device("cpu"))
    assert agreement(teach(loaded(trained), photos, boxes), teach(ours, photos, boxes)) > 0.99


def test_half_precision_agrees_with_fp32(trained, forgeries):
    photos, boxes, _ = zip(*forgeries, strict=True)
    teacher = loaded(trained)
    exact = teach(teacher, photos, boxes)
    with torch.autocast("cpu", torch.bfloat16):
        rough = teach(teacher, photos, boxes)
    assert all(each.probability.dtype == torch.float32 for each in rough)
    assert not torch.equal(exact[0].probability, rough[0].probability)
    assert agreement(exact, rough) > 0.99


def agreement(answers, others):
    """Mean IoU of the masks over all boxes; 1 where both are empty."""
    ious = []
    for one, other in zip(answers, others, strict=True):
        a, b = one.probability[:, 0] > 0.5, other.probability[:, 0] > 0.5
        ious += (1 - (a ^ b).sum((1, 2)) / (a | b).sum((1, 2)).clamp(min=1)).tolist()
    assert len(ious) > 30
    return np.mean(ious)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_runs_in_half_precision(made, photos, boxes, family):
    teacher = loaded(made(family)[0])
    with torch.autocast("cpu", torch.bfloat16):
        answers = teach(teacher, photos, boxes)
    assert all(each.probability.dtype == torch.float32 and each.probability.isfinite().all() for each in answers)


def test_a_photo_too_thin_for_the_input_size_is_refused(made):
    hair = np.full((1, 3000, 3), 9, np.uint8)
    with pytest.raises(ImageError, match="3000×1 pixels are too thin"):
        loaded(made("sam")[0]).preparation()(hair)
    assert loaded(made("sam2")[0]).preparation()(hair).shape == (SIDE, SIDE, 3)


def test_a_whole_cache_is_made_with_it(made, manifest, tmp_path):
    folder = made("sam2")[0]
    code = pseudomasks(
        manifest, tmp_path / "cache", TransformersSam(str(folder)), 64, accelerator="cpu", devices=1,
        precision="bf16-mixed", workers=0,
    )  # fmt: skip
    assert code == 3  # two photos are broken
    stamp = ShardReader(tmp_path / "cache").index.stamp
    assert stamp.teacher == "sam2"
    assert stamp.weights_sha256 == file_sha256(folder / "model.safetensors")

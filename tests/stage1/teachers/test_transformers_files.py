"""Model files of the SAM family from the hub: downloads, refused files, and identification."""

from pathlib import Path

import pytest
import torch

from boxpromptiml.core.records import InputError

transformers = pytest.importorskip("transformers")

from stage1_pseudomask.teachers.transformers_sam import TransformersSam  # noqa: E402  (imports it)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder with a small SAM, in the layout of the hub."""
    encoder = {"hidden_size": 16, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.SamConfig(
        vision_config={**encoder, "image_size": 32, "patch_size": 8, "global_attn_indexes": [], "num_pos_feats": 8},
        prompt_encoder_config={"hidden_size": 16, "image_size": 32, "patch_size": 8, "image_embedding_size": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 1, "iou_head_hidden_dim": 16},
    )
    folder = tmp_path_factory.mktemp("whole")
    transformers.SamModel(config).save_pretrained(folder)
    transformers.SamImageProcessor(size={"longest_edge": 32}, pad_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    return folder


def loaded(folder):
    teacher = TransformersSam(str(folder))
    teacher.load(torch.device("cpu"))
    return teacher


def test_a_hub_model_is_identified_by_its_commit(whole, monkeypatch, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / commit).symlink_to(whole)
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


def test_without_the_library_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("stage1_pseudomask.teachers.transformers_sam.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'boxpromptiml\[transformers\]'"):
        TransformersSam("facebook/sam2.1-hiera-small")


def test_pickled_weights_are_refused(whole, tmp_path):
    for file in whole.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"{}"), r"model\.safetensors cannot be used"),
        (lambda folder: (folder / "config.json").write_text("[]"), "has no model_type"),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
            "'bert', which does not accept boxes",
        ),
        (lambda folder: drop_a_weight(folder / "model.safetensors"), "1 weights are missing"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "image processor cannot be used"),
    ],
)
def test_a_damaged_model_is_refused_in_one_line(whole, tmp_path, damage, words):
    for file in whole.iterdir():
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

"""Faster training gives the same result: memory layout, kernels, accumulation, freezing, resuming, processes."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from timm.utils.model import freeze_batch_norm_2d
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

from boxpromptiml.core.records import InputError
from stage2_distill.data.datamodule import PseudoMaskData
from stage2_distill.losses.distillation import DistillationLoss
from stage2_distill.model.speed import Speed, require_unused_parameters_found, step_seed
from stage2_distill.model.student import Student, count_macs, read_checkpoint
from stage2_distill.module import Distillation

PLAIN = Speed(channels_last=False, fused=False, depthwise_fp32=False)


def distillation(backbone="mobilenetv3_small_050", memory_update="gradient", **options):
    torch.manual_seed(0)
    student = Student(backbone, False, 64, channels=16, prototypes=4, memory_update=memory_update, memory_decay=0.5)
    return Distillation(student, DistillationLoss(dice=1.0), lr=3e-3, **options)


def fit(module, cache, folder, callbacks=(), ckpt_path=None, batch_size=6, epoch_size=24, confidence=0.0, **options):
    sizes = {"epoch_size": epoch_size, "image_size": 64, "batch_size": batch_size}
    data = PseudoMaskData([str(cache)], workers=0, confidence_power=confidence, **sizes)
    settings = {"max_epochs": 2, "limit_val_batches": 0, "logger": False, "enable_progress_bar": False}
    checkpoints = any(isinstance(each, ModelCheckpoint) for each in callbacks)  # no test reads the default one's
    settings |= {"devices": 1, "enable_model_summary": False, "enable_checkpointing": checkpoints} | options
    trainer = L.Trainer(accelerator="cpu", default_root_dir=folder, callbacks=[*callbacks], **settings)
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return module.student.state_dict()


def largest_difference(left, right):
    assert left.keys() == right.keys()
    return max((left[name].float() - right[name].float()).abs().max().item() for name in left)


@pytest.fixture(autouse=True)
def _seed(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")


@pytest.fixture(scope="module")
def plain(cache, tmp_path_factory):
    os.environ["PL_GLOBAL_SEED"] = "0"
    return fit(distillation(speed=PLAIN), cache, tmp_path_factory.mktemp("plain"), max_epochs=1)


@pytest.mark.parametrize("speed", [Speed(fused=False), Speed(channels_last=False), Speed()], ids=str)
def test_memory_layout_and_kernel_change_only_rounding(speed, plain, cache, tmp_path):
    assert largest_difference(fit(distillation(speed=speed), cache, tmp_path, max_epochs=1), plain) < 5e-3


def test_a_compiled_student_trains_the_same_and_its_checkpoint_is_an_ordinary_one(plain, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))  # traces, without C++
    module = distillation(speed=Speed(compiled=True, channels_last=False, fused=False))
    macs = count_macs(module.student)
    checkpoint = ModelCheckpoint(tmp_path, filename="end")
    assert largest_difference(fit(module, cache, tmp_path, [checkpoint], max_epochs=1), plain) < 5e-3
    assert count_macs(module.student) == macs
    assert set(Student.from_checkpoint(tmp_path / "end.ckpt").state_dict()) == set(plain)


def test_slow_depthwise_convolutions_keep_32_bits_under_bf16_and_nothing_changes_without(cache, tmp_path):
    def trained(fp32, precision):
        module, kinds = distillation(speed=Speed(depthwise_fp32=fp32)), set()
        for layer in module.student.backbone.modules():
            if isinstance(layer, torch.nn.Conv2d) and layer.groups > 1 and layer.kernel_size[0] > 3:
                layer.register_forward_hook(lambda *arguments: kinds.add(arguments[-1].dtype))
        return fit(module, cache, tmp_path, max_epochs=1, precision=precision), kinds

    assert trained(True, "bf16-mixed")[1] == {torch.float32}
    assert trained(False, "bf16-mixed")[1] == {torch.bfloat16}
    assert largest_difference(trained(True, "32-true")[0], trained(False, "32-true")[0]) == 0


@pytest.mark.parametrize(
    "kernel", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION], ids=str
)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
def test_operations_are_counted_for_any_kernel_that_torch_selects(kernel, layout):
    """64 positions that attend to 4 prototypes of 16 channels take two products, besides the query convolution."""
    student = distillation().student.train()
    student.lay_out(layout)
    without = Student("mobilenetv3_small_050", False, 64, channels=16, prototypes=4, memory=False)
    with sdpa_kernel(kernel):
        reading = count_macs(student) - count_macs(without)
    projections = 64 * 16 * 16 + 64 * 16  # to the queries, and from the attention output to the prior
    assert reading == 2 * 64 * 4 * 16 + projections
    assert student.training


class GradientNorms(L.Callback):
    """Callback that records the gradient norm of each optimizer step."""

    def __init__(self):
        self.norms = []

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        gradients = [p.grad.flatten() for p in pl_module.student.parameters() if p.grad is not None]
        self.norms += [torch.cat(gradients).norm().item()] if gradients else []


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_gradients_are_clipped_for_the_fused_optimizer(cache, tmp_path, precision, algorithm):
    norms, options = GradientNorms(), {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": algorithm}
    if (precision, algorithm) == ("bf16-mixed", "value"):
        with pytest.raises(RuntimeError, match="fused"):
            fit(distillation(), cache, tmp_path, max_epochs=1, precision=precision, **options)
        return
    fit(distillation(), cache, tmp_path, [norms], max_epochs=1, precision=precision, **options)
    assert len(norms.norms) == 3
    if algorithm == "norm":
        assert norms.norms == pytest.approx([1e-3] * 3, rel=0.01)


def test_accumulated_batches_make_fewer_steps_and_the_learning_rate_still_ends_at_zero(cache, tmp_path):
    module = distillation()
    fit(module, cache, tmp_path, accumulate_grad_batches=2)
    assert module.trainer.global_step == 4  # two epochs of four batches
    assert module.lr_schedulers().get_last_lr()[0] == pytest.approx(0, abs=1e-5)


def test_a_frozen_backbone_is_unchanged_until_it_is_unfrozen(cache, tmp_path):
    start = {name: tensor.clone() for name, tensor in distillation().student.state_dict().items()}
    every = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    end = fit(distillation(freeze_backbone=1), cache, tmp_path, [every])
    after_one = read_checkpoint(tmp_path / "epoch=0.ckpt")["state_dict"]
    changed = {name for name in start if not torch.equal(start[name], after_one[f"student.{name}"])}
    assert changed
    assert not [name for name in changed if name.startswith("backbone.")]
    assert {name for name in start if not torch.equal(start[name], end[name])} > changed


@pytest.mark.parametrize("memory_update", ["gradient", "ema"])
def test_training_one_part_leaves_the_others_unchanged_including_running_means(memory_update, cache, tmp_path):
    shape = {"displacements": 4, "compare_copies": True, "memory_update": memory_update}
    module = Distillation(
        Student("mobilenetv3_small_050", False, 64, channels=16, prototypes=4, **shape),
        DistillationLoss(),
        train_only="comparison",
    )
    start = {name: tensor.clone() for name, tensor in module.student.state_dict().items()}
    end = fit(module, cache, tmp_path, max_epochs=1)
    changed = {name.split(".")[0] for name in start if not torch.equal(start[name], end[name])}
    assert changed == {"comparison"}


def test_an_unknown_part_is_refused_listing_the_parts_of_the_student():
    with pytest.raises(InputError, match=r"train_only comparison: .* its parts are backbone, fusion"):
        distillation(train_only="comparison")


@pytest.mark.parametrize(
    ("backbone", "memory_update"),
    [("mobilenetv3_small_050", "gradient"), ("mobilenetv3_small_050", "ema"), ("tiny_vit_11m_224", "gradient")],
)
def test_one_epoch_and_a_resumed_one_equal_two_bit_for_bit(cache, tmp_path, backbone, memory_update):
    draws = 6 if backbone.startswith("tiny_vit_11m") else 24  # slow, but tests stochastic depth
    every = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    straight = fit(distillation(backbone, memory_update), cache, tmp_path, [every], epoch_size=draws)
    torch.manual_seed(99)
    module = distillation(backbone, memory_update)
    resumed = fit(module, cache, tmp_path / "again", ckpt_path=tmp_path / "epoch=0.ckpt", epoch_size=draws)
    assert [name for name in straight if not torch.equal(straight[name], resumed[name])] == []


def test_seeds_differ_by_step_and_process_and_follow_the_run(monkeypatch):
    seeds = {step_seed(epoch, batch, rank) for epoch in range(3) for batch in range(3) for rank in range(3)}
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    assert len(seeds | {step_seed(0, 0, 0)}) == 28


SCRIPT = """
import sys
import torch
sys.path.insert(0, {tests!r})
from test_speed import CASES, fit_for_comparison

cache, out = sys.argv[1:]
for case in CASES:
    rank, weights = fit_for_comparison(cache, out, case, devices=2)
    torch.save(weights, f"{{out}}/{{case}}-{{rank}}.pt")
"""
CASES = {"gradient": 1, "ema": 0}
"""Memory bank update → number of epochs with a frozen backbone."""


def fit_for_comparison(cache, folder, case, devices):
    """Train two epochs at six images per step; return rank and weights.

    Batch norms are frozen, since SyncBatchNorm needs GPUs.
    """
    module = distillation(memory_update=case, freeze_backbone=CASES[case])
    freeze_batch_norm_2d(module.student)
    strategy = "auto" if devices == 1 else "ddp_find_unused_parameters_true" if CASES[case] else "ddp"
    options = {"devices": devices, "strategy": strategy, "confidence": 1.0}
    weights = fit(module, cache, folder, batch_size=6 // devices, **options)
    return module.global_rank, weights


def test_two_processes_train_like_one_with_the_same_images_per_step(cache, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    process = subprocess.Popen([sys.executable, script, cache, tmp_path])
    one = {case: fit_for_comparison(cache, tmp_path, case, devices=1)[1] for case in CASES}
    assert process.wait(timeout=240) == 0
    for case, weights in one.items():
        first, second = (torch.load(tmp_path / f"{case}-{rank}.pt") for rank in (0, 1))
        assert largest_difference(first, second) == 0
        assert largest_difference(weights, first) < 1e-4
        start = distillation(memory_update=case).student.state_dict()
        assert min((weights[name] - start[name]).abs().max() for name in start if ".memory.keys" in name) > 1e-3


def test_a_temporarily_frozen_backbone_with_several_processes_is_refused(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        with pytest.raises(InputError, match="ddp_find_unused_parameters_true"):
            require_unused_parameters_found(DistributedDataParallel(torch.nn.Linear(2, 2)))
        require_unused_parameters_found(DistributedDataParallel(torch.nn.Linear(2, 2), find_unused_parameters=True))
    finally:
        torch.distributed.destroy_process_group()

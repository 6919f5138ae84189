"""The experiment: loss, scoring and optimization of the student."""

from __future__ import annotations

from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from boxpromptiml.core.limits import NotNegative, Share, Whole, within_limits
from boxpromptiml.core.records import Batch, InputError
from boxpromptiml.scoring.protocol import Scoring
from stage2_distill.data.test_set import ScoredBatch
from stage2_distill.evaluation.agreement import TeacherAgreement, averages
from stage2_distill.evaluation.metrics import ImageScores, in_precision
from stage2_distill.losses.distillation import DistillationLoss
from stage2_distill.losses.self_correction import SelfCorrection, corrected_target
from stage2_distill.model.fusion import MemoryBank, pool_under_mask
from stage2_distill.model.speed import Speed, require_unused_parameters_found, step_seed
from stage2_distill.model.student import Localization, Student


class Distillation(L.LightningModule):
    """Distills cached pseudo-masks into a student.

    Validation measures agreement with the teacher (``val/f1_pseudo_mask``), which is the only available criterion for
    selecting a checkpoint when there are only boxes. It is the mean over the manipulated images of all validation sets
    together. If there is ground truth, ``val/f1_truth`` is logged for information.

    Args:
        student: the network.
        loss: against the pseudo-mask.
        lr: peak learning rate of AdamW.
        backbone_lr_scale: factor on the backbone's learning rate; below 1 for a pretrained one.
        freeze_backbone: number of initial epochs during which a pretrained backbone is frozen.
        train_only: name of the only part of the student that is trained, such as comparison; None trains all of it.
        weight_decay: weight decay of AdamW.
        warmup: fraction of the steps during which the learning rate rises linearly; afterwards it follows a cosine to
            zero.
        scoring: options of `boxpromptiml test`.
        correction: schedule of late self-correction.
        speed: settings for training speed.

    Raises:
        InputError: the student has no part named ``train_only``.
    """

    @within_limits
    def __init__(
        self,
        student: Student,
        loss: DistillationLoss,
        lr: NotNegative = 1e-4,
        backbone_lr_scale: NotNegative = 1.0,
        freeze_backbone: Whole = 0,
        train_only: str | None = None,
        weight_decay: NotNegative = 0.05,
        warmup: Share = 0.05,
        scoring: Scoring = Scoring(),  # noqa: B008 (frozen)
        correction: SelfCorrection = SelfCorrection(),  # noqa: B008 (frozen)
        speed: Speed = Speed(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.student = student
        self.loss = loss
        self.lr = lr
        self.backbone_lr_scale = backbone_lr_scale
        self.freeze_backbone = freeze_backbone
        self.train_only = train_only
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.correction = correction
        self.agreement = TeacherAgreement()
        self.image_scores = ImageScores(scoring)
        self.speed = speed
        if train_only is not None:
            self.student.requires_grad_(False)
            _part(student, train_only).requires_grad_(True)

    def setup(self, stage: str) -> None:
        """Prepare the student for fast training; only for fit."""
        if stage == "fit":
            self.speed.prepare(self.student)

    def on_train_epoch_start(self) -> None:
        """Freeze or unfreeze the backbone, or everything except ``train_only``."""
        if self.train_only is not None:
            self.student.eval()  # also freezes the running statistics of batch norms
            _part(self.student, self.train_only).train()
        elif self.freeze_backbone:
            require_unused_parameters_found(self.trainer.strategy.model)
            frozen = self.current_epoch < self.freeze_backbone
            self.student.backbone.requires_grad_(not frozen).train(not frozen)

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Seed the randomness inside the network (such as stochastic depth), so that a resumed run is identical."""
        torch.manual_seed(step_seed(self.current_epoch, batch_index, self.global_rank))

    def training_step(self, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """Compute the loss of a batch; also returns the features for a memory bank updated by moving averages."""
        prediction = self.student(batch["image"])
        share = self.correction.share_at(self.global_step / self.trainer.estimated_stepping_batches)
        target = corrected_target(batch["pseudo_mask"], prediction.logits, batch["box_mask"], share)
        total = self.trainer.strategy.reduce(batch["weight"].sum(), reduce_op="mean")
        loss = self.loss(prediction.logits, target, batch["weight"], batch["box_mask"], total)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["image"]))
        features = {} if self._averaging_memory() is None else {"fused": prediction.fused.detach()}
        return {"loss": loss, **features}

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        """Update the memory bank by the features of all processes, so that all its copies stay equal."""
        if (memory := self._averaging_memory()) is not None:
            features = pool_under_mask(outputs["fused"], batch["pseudo_mask"])
            pooled, present = (self._of_all_processes(rows) for rows in features)
            memory.ema_update(pooled[present])

    def _averaging_memory(self) -> MemoryBank | None:
        memory = self.student.fusion.memory
        frozen = self.train_only not in (None, "fusion")
        return None if memory is None or memory.learned or frozen else memory

    def validation_step(self, batch: Batch, batch_index: int) -> dict[str, Localization]:
        """Update the agreement with teacher and ground truth; log the loss and each of its unweighted terms.

        The student's output is returned for callbacks.
        """
        prediction = self._forward_for_scoring(batch["image"])
        terms = self.loss.terms(prediction.logits, batch["pseudo_mask"], batch["box_mask"], unweighted=True)
        means = {"loss": self.loss.total(terms, batch["weight"])} | {name: term.mean() for name, term in terms.items()}
        for name, value in means.items():
            self.log(f"val/{name}", value, sync_dist=True, batch_size=len(batch["image"]))
        self.agreement.update(batch, torch.sigmoid(prediction.logits))
        return {"prediction": prediction}

    def on_validation_epoch_end(self) -> None:
        """Log means over images and, if there are several sets, the means of each set (``val/f1_pseudo_mask/SET``)."""
        dataset = self.trainer.datamodule.val_set  # type: ignore[attr-defined]
        rows = self.agreement.compute().numpy()
        for key, value in averages(rows, dataset.sources, dataset.source_of).items():
            self.log(f"val/{key}", value, prog_bar=key == "f1_pseudo_mask", sync_dist=True)
        self.agreement.reset()

    def test_step(self, batch: ScoredBatch, batch_index: int, dataloader_idx: int = 0) -> None:
        """Score each photo against its ground truth."""
        prediction = self._forward_for_scoring(batch["image"])
        probability = torch.sigmoid(prediction.logits.float())
        self.image_scores.update_batch(dataloader_idx, batch, probability, prediction.score)
        for problem in filter(None, batch["problem"]):
            print(f"skipped: {problem}")

    def _forward_for_scoring(self, image: Tensor) -> Localization:
        """Run the student in the scoring precision or, during training, in the training precision.

        Raises:
            InputError: the weights themselves are in a lower precision.
        """
        if self.trainer.state.fn == TrainerFn.FITTING:
            return self.student(image)
        if (kept := next(self.student.parameters()).dtype) != torch.float32:
            raise InputError(
                f"trainer.precision {self.trainer.precision} keeps the student in {kept}, but scores are "
                "computed in float32; add --trainer.precision 32-true"
            )
        with in_precision(self.image_scores.scoring.precision, self.device):
            return self.student(image.float())

    def _of_all_processes(self, rows: Tensor) -> Tensor:
        gathered = cast(Tensor, self.all_gather(rows))  # has an additional dimension if there are several processes
        return gathered.flatten(0, 1) if gathered.ndim > rows.ndim else gathered

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW without weight decay on norms, biases, prototypes and α; linear warm-up and cosine decay, per step."""
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, parameter in self.student.named_parameters():
            if parameter.requires_grad:
                decays = parameter.ndim > 1 and ".memory." not in name
                groups.setdefault((name.startswith("backbone."), decays), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {
                    "name": ("backbone" if backbone else "fusion") + ("" if decays else ", no decay"),
                    "params": parameters,
                    "lr": self.lr * (self.backbone_lr_scale if backbone else 1.0),
                    "weight_decay": self.weight_decay if decays else 0.0,
                }
                for (backbone, decays), parameters in groups.items()
            ],
            fused=self.speed.fused,
        )
        steps = int(self.trainer.estimated_stepping_batches)
        rising = max(1, round(self.warmup * steps))
        schedule = torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            [
                torch.optim.lr_scheduler.LinearLR(optimizer, 1 / rising, total_iters=rising),
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - rising)),
            ],
            milestones=[rising],
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Also clip under bf16-mixed, where Lightning needlessly refuses to clip for a fused optimizer."""
        if gradient_clip_val and gradient_clip_algorithm != "value" and self.trainer.precision == "bf16-mixed":
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the student's arguments, so that `Student.from_checkpoint` needs nothing else."""
        checkpoint["student"] = self.student.arguments


def _part(student: Student, name: str) -> nn.Module:
    parts = dict(student.named_children())
    if name not in parts:
        raise InputError(f"model.train_only {name}: this student has no such part; its parts are {', '.join(parts)}")
    return parts[name]

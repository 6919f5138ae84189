"""Throughput measured with a fake clock."""

from types import SimpleNamespace

import pytest

from stage2_distill.callbacks import throughput

LOGGED_EVERY = 2


def test_images_per_second_and_waiting_time_exclude_validation(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: clock[0])
    logged = []
    logger = SimpleNamespace(log_metrics=lambda metrics, step: logged.append((step, metrics)))
    trainer = SimpleNamespace(log_every_n_steps=LOGGED_EVERY, world_size=3, loggers=[logger], global_step=0)
    callback = throughput.Throughput()
    callback.on_train_start(trainer, None)
    for epoch in range(3):
        clock[0] += 100  # validation, checkpoints
        callback.on_train_epoch_start(trainer, None)
        clock[0] += 1  # waiting
        callback.on_train_batch_start(trainer, None, {}, 0)
        clock[0] += 3  # computing
        trainer.global_step = epoch + 1
        callback.on_train_batch_end(trainer, None, None, {"image": [0] * 16}, 0)
    [(step, metrics)] = logged  # two of three batches were due for logging
    assert step == 1
    assert metrics["time/images_per_second"] == pytest.approx(3 * 32 / 8)
    assert metrics["time/share_waiting_for_data"] == pytest.approx(1 / 4)

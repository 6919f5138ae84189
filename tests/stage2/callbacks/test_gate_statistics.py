"""Gate and memory statistics against numpy, hand-computed cases, and the attention of the fusion module."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stage2_distill.callbacks.gate_statistics import Bank, FusionStatistics, GateStatistics, MemoryUsage, evenness
from stage2_distill.model.fusion import MemoryGuidedGatedFusion
from stage2_distill.model.student import Localization


def fusion_and_output(**arguments):
    torch.manual_seed(0)
    given = {
        "gating": True,
        "memory": True,
        "alpha": 0.5,
        "learn_alpha": False,
        "memory_update": "gradient",
        "memory_decay": 0.99,
    } | arguments
    fusion = MemoryGuidedGatedFusion([3, 4], channels=8, prototypes=5, **given).eval()
    features = [torch.randn(2, 3, 6, 6), torch.randn(2, 4, 3, 3)]
    return fusion, Localization(*fusion(features, (6, 6)), score=torch.zeros(2))


def test_gate_statistics_are_over_all_pixels():
    gates = torch.rand(7, 3, 5, 4) ** torch.tensor([0.2, 1.0, 9.0])[:, None, None]
    statistics = GateStatistics(3)
    for part in gates.split([3, 4]):
        statistics.update(part)
    found = statistics.compute()
    for level, values in enumerate(gates.transpose(0, 1).flatten(1).numpy(), start=1):
        assert found[f"gate_mean/level_{level}"] == pytest.approx(values.mean(), abs=1e-5)
        assert found[f"gate_std/level_{level}"] == pytest.approx(values.std(), abs=1e-4)
        assert found[f"gate_near_0/level_{level}"] == pytest.approx(np.mean(values < 0.05), abs=1e-5)
        assert found[f"gate_near_1/level_{level}"] == pytest.approx(np.mean(values > 0.95), abs=1e-5)


def test_returned_gates_are_those_behind_the_gate_prior():
    _, prediction = fusion_and_output()
    assert prediction.gates.shape == (2, 2, 6, 6)
    assert torch.allclose(prediction.gates.mean(1, keepdim=True), prediction.gate_prior)


def test_attention_equals_the_read_weights_of_the_memory_bank():
    fusion, prediction = fusion_and_output()
    memory = fusion.memory
    attention = memory.attention(prediction.fused)
    assert torch.allclose(attention.sum(-1), torch.ones(2, 36))
    read = (attention @ memory.values).transpose(1, 2).reshape(2, 8, 6, 6)
    assert torch.allclose(torch.sigmoid(memory.to_prior(read)), prediction.memory_prior, atol=1e-6)


def test_usage_matches_a_hand_computed_case():
    usage = MemoryUsage(4)
    usage.update(torch.tensor([[[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]]]))
    usage.update(torch.tensor([[[0, 1.0, 0, 0], [0, 1.0, 0, 0]]]))
    mass, position_evenness = usage.compute()
    assert mass.tolist() == pytest.approx([0.3125, 0.5625, 0.0625, 0.0625])
    assert position_evenness == pytest.approx(0.25)  # one of the four positions reads all prototypes equally


def test_memory_bank_scalars_match_a_hand_computed_case():
    keys = F.normalize(torch.tensor([[1.0, 0], [0.8, 0.6], [0, -1]]), dim=1)
    bank = Bank(torch.tensor([0.6, 0.39, 0.01]), torch.tensor(0.5), keys @ keys.T)
    cosine, nearest = bank.nearest()
    assert nearest.tolist()[:2] == [1, 0]
    assert cosine.tolist() == pytest.approx([0.8, 0.8, 0.0], abs=1e-6)
    scalars = {name: value.item() for name, value in bank.scalars().items()}
    assert scalars["memory_dead"] == pytest.approx(1 / 3)  # 0.01 is less than a tenth of a third
    assert scalars["memory_similarity/max"] == pytest.approx(0.8)
    assert scalars["memory_similarity/mean"] == pytest.approx(1.6 / 3)


@pytest.mark.parametrize(("shares", "expected"), [([1.0, 0, 0], 0), ([1 / 3] * 3, 1), ([0.5, 0.5, 0], 0.6309298)])
def test_evenness_lies_between_one_prototype_and_all(shares, expected):
    assert evenness(torch.tensor(shares)).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("gating", "memory"), [(False, True), (True, False), (False, False)])
def test_scalars_of_missing_modules_are_left_out(gating, memory):
    fusion, prediction = fusion_and_output(gating=gating, memory=memory)
    statistics = FusionStatistics(fusion, torch.device("cpu"))
    statistics.update(prediction)
    assert bool(statistics.gate_scalars()) == gating
    assert (statistics.bank() is not None) == memory

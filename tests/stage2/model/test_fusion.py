"""The fusion module against its equations, written out by hand."""

import pytest
import torch
from torch.nn import functional as F

from boxpromptiml.core.records import InputError
from stage2_distill.model.fusion import MemoryBank, MemoryGuidedGatedFusion, pool_under_mask

CHANNELS = (4, 6, 8, 10)
PLAIN = {
    "gating": True,
    "memory": True,
    "alpha": 0.5,
    "learn_alpha": False,
    "memory_update": "gradient",
    "memory_decay": 0.99,
}


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, 16 // 2**i, 16 // 2**i, generator=generator) for i, c in enumerate(CHANNELS)]


def fusion(**arguments):
    torch.manual_seed(0)
    return MemoryGuidedGatedFusion(CHANNELS, channels=8, prototypes=5, **{**PLAIN, **arguments}).eval()


def test_the_output_follows_the_equations(features):
    module = fusion(alpha=0.3)
    answer = module(features, (8, 8))
    resized = [F.interpolate(f, (8, 8), mode="bilinear", align_corners=False) for f in features]
    aligned = [F.conv2d(f, layer.weight, layer.bias) for f, layer in zip(resized, module.align, strict=True)]
    gates = [torch.sigmoid(gate(f)) for gate, f in zip(module.gates, aligned, strict=True)]
    fused = sum(g * f for g, f in zip(gates, aligned, strict=True)) / sum(gates)
    torch.testing.assert_close(answer.fused, fused, atol=1e-5, rtol=1e-5)
    prior = sum(gates) / 4
    torch.testing.assert_close(answer.gate_prior, prior, atol=1e-5, rtol=1e-5)

    query = module.memory.query(fused).flatten(2).transpose(1, 2)
    attention = torch.softmax(query @ module.memory.keys.T / 8**0.5, -1)
    read = (attention @ module.memory.values).transpose(1, 2).reshape(2, 8, 8, 8)
    memory = torch.sigmoid(module.memory.to_prior(read))
    torch.testing.assert_close(answer.memory_prior, memory, atol=1e-5, rtol=1e-5)

    final = 0.3 * torch.sigmoid(module.base(fused)) * prior + 0.7 * memory
    refined = module.refine(torch.cat([fused * (1 + final), final], 1))
    torch.testing.assert_close(answer.logits, refined, atol=1e-4, rtol=1e-4)


def test_without_gating_features_are_averaged(features):
    module = fusion(gating=False)
    answer = module(features, (8, 8))
    aligned = [F.interpolate(a(f), (8, 8), mode="bilinear") for a, f in zip(module.align, features, strict=True)]
    torch.testing.assert_close(answer.fused, sum(aligned) / 4, atol=1e-5, rtol=1e-5)
    assert (answer.gate_prior == 1).all()


def test_without_memory_alpha_has_no_effect(features):
    answers = [fusion(memory=False, alpha=alpha)(features, (8, 8)) for alpha in (0.2, 0.9)]
    torch.testing.assert_close(answers[0].logits, answers[1].logits)
    assert (answers[0].memory_prior == 0).all()


@pytest.mark.parametrize(("gating", "memory"), [(False, False), (True, False), (False, True), (True, True)])
def test_every_variant_trains_every_parameter(features, gating, memory):
    module = fusion(gating=gating, memory=memory).train()
    module(features, (8, 8)).logits.sum().backward()
    idle = [n for n, p in module.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert idle == []


def test_alpha_is_learned_only_on_request(features):
    fixed, learned = fusion(alpha=0.4), fusion(alpha=0.4, learn_alpha=True)
    learned(features, (8, 8)).logits.sum().backward()
    assert learned.alpha_logit.grad is not None
    assert torch.sigmoid(learned.alpha_logit).item() == pytest.approx(0.4)
    assert not fixed.alpha_logit.requires_grad
    with pytest.raises(InputError, match="alpha"):
        fusion(alpha=1.2)


def test_only_the_nearest_prototype_moves_towards_a_pooled_feature():
    torch.manual_seed(0)
    bank = MemoryBank(4, 3, "ema", decay=0.75)
    assert not any(p.requires_grad for p in (bank.keys, bank.values))
    pooled = torch.randn(1, 4)
    query = bank.query(pooled[:, :, None, None]).flatten(1)
    nearest = F.cosine_similarity(query, bank.keys).argmax().item()
    keys, values = bank.keys.clone(), bank.values.clone()
    bank.ema_update(pooled)
    expected_keys, expected_values = keys.clone(), values.clone()
    expected_keys[nearest] = 0.75 * keys[nearest] + 0.25 * query[0]
    expected_values[nearest] = 0.75 * values[nearest] + 0.25 * pooled[0]
    torch.testing.assert_close(bank.keys.data, expected_keys.data)
    torch.testing.assert_close(bank.values.data, expected_values.data)


def test_pooling_looks_only_under_the_mask():
    features = torch.zeros(2, 3, 4, 4)
    features[0, :, :2] = 5.0
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, :4] = 1
    pooled, present = pool_under_mask(features, mask)
    assert present.tolist() == [True, False]
    torch.testing.assert_close(pooled[0], torch.full((3,), 5.0))

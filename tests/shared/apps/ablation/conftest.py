import pytest

from boxpromptiml.apps.ablation.plan import Study, Variant


@pytest.fixture
def base(tmp_path):
    file = tmp_path / "base.yaml"
    file.write_text("trainer: {}\n")
    return file


@pytest.fixture
def studies():
    """Two studies that share one variant."""
    less = Variant({"model.memory": False})
    return {
        "components": Study("Which parts?", {"complete": Variant(), "without memory": less}, "complete"),
        "alpha": Study("How much?", {"0.5": Variant(), "0.7": Variant({"model.alpha": 0.7})}, "0.5", axis="α"),
    }

from pathlib import Path

from boxpromptiml.apps.web_app.student_facts import NO_CARD, StudentFacts, limits_of
from stage2_distill.inference import released


def test_limits_come_from_the_card_of_the_released_student():
    limits = limits_of((released.FOLDER / "README.md").read_text(encoding="utf-8"))
    assert len(limits) >= 3
    assert any(limit.startswith("Copies that were scaled") for limit in limits)
    assert any("generated images" in limit for limit in limits)
    assert not any("**" in limit or "\n" in limit for limit in limits)


def test_the_card_of_a_saved_student_is_read(localizer, tmp_path):
    localizer.save(tmp_path / "mine")
    facts = StudentFacts.of(localizer, str(tmp_path / "mine"))
    assert facts.sha256 == localizer.weights_sha256()
    assert facts.threshold == localizer.threshold
    (limit,) = facts.limits
    assert limit.startswith("It finds the kinds of manipulation that its training set contained.")


def test_a_missing_card_is_reported(localizer, tmp_path):
    for name in ("", str(tmp_path / "best.ckpt")):
        assert StudentFacts.of(localizer, name).limits == NO_CARD
    Path(tmp_path, "README.md").write_text("# A student\n\nNothing else.\n", encoding="utf-8")
    assert StudentFacts.of(localizer, str(tmp_path)).limits == NO_CARD

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxpromptiml.apps.report.charts import HEIGHT, MAX_POINTS, WIDTH, line_chart, training_curves
from boxpromptiml.core.records import InputError

number = st.floats(-1e6, 1e6, width=32)


def corners(points):
    return np.array([pair.split(",") for pair in points.split()], float)


@given(st.lists(st.tuples(st.floats(0, 1e6, width=32), number), min_size=1, max_size=30))
def test_every_point_and_tick_lies_inside_the_plot(points):
    chart = line_chart("loss", {"train": points})
    drawn = corners(chart.lines["train"])
    assert len(drawn) == len(points)
    assert (drawn >= -0.1).all()
    assert (drawn <= [WIDTH + 0.1, HEIGHT + 0.1]).all()
    assert all(-0.1 <= tick.position <= HEIGHT + 0.1 for tick in chart.y_ticks)
    assert all(-0.1 <= tick.position <= WIDTH + 0.1 for tick in chart.x_ticks)


def test_a_larger_value_is_drawn_higher_and_later_steps_to_the_right():
    first, second = corners(line_chart("f1", {"val": [(0, 0.1), (10, 0.4)]}).lines["val"])
    assert second[0] > first[0]
    assert second[1] < first[1]


def test_tick_labels_match_their_positions():
    chart = line_chart("f1", {"val": [(0, 0.0), (10, 0.5)]})
    positions = {float(tick.label): tick.position for tick in chart.y_ticks}
    drawn = corners(chart.lines["val"])[:, 1]
    assert np.interp([0.0, 0.5], sorted(positions), [positions[v] for v in sorted(positions)]) == pytest.approx(drawn)


def test_long_series_are_thinned_and_keep_both_ends():
    chart = line_chart("loss", {"train": [(x, float(x)) for x in range(10_000)]})
    drawn = corners(chart.lines["train"])
    assert len(drawn) <= MAX_POINTS + 1
    assert drawn[0][0] == 0
    assert drawn[-1][0] == WIDTH


def test_a_constant_learning_rate_far_from_one_can_be_drawn():
    chart = line_chart("lr", {"lr": [(5, 1e-7), (6, 1e-7)]})
    assert "nan" not in chart.lines["lr"]
    assert len({tick.position for tick in chart.y_ticks}) == len(chart.y_ticks)


def test_curves_read_what_lightning_writes(tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    logger = CSVLogger(tmp_path, name="fit", version="")
    logger.log_metrics({"train/loss": 1.0, "epoch": 0}, step=1)
    logger.log_metrics({"val/loss": 0.8, "val/f1_pseudo_mask": 0.2, "epoch": 0}, step=9)
    logger.log_metrics({"train/loss": float("nan"), "epoch": 1}, step=10)
    logger.save()
    charts = {chart.title: chart for chart in training_curves([tmp_path / "fit/metrics.csv"])}
    assert set(charts) == {"loss", "f1 pseudo mask"}
    assert set(charts["loss"].lines) == {"train", "val"}
    assert len(corners(charts["loss"].lines["train"])) == 1, "a loss that is not a number is left out"


def test_related_scores_share_a_chart_and_so_do_learning_rates(tmp_path):
    columns = "step,val/f1,val/f1/casia1,val/f1/nist16,lr-AdamW/backbone,lr-AdamW/fusion,seconds"
    (tmp_path / "metrics.csv").write_text(f"{columns}\n1,.5,.4,.6,.1,.2,9\n")
    charts = {chart.title: set(chart.lines) for chart in training_curves([tmp_path / "metrics.csv"])}
    assert charts == {
        "f1": {"val", "casia1", "nist16"},
        "learning rate": {"backbone", "fusion"},
        "seconds": {"seconds"},
    }


@pytest.mark.parametrize("text", ["step,train/loss\n1,oops\n", "step,a\n1,2,3\n"])
def test_a_table_with_non_numeric_values_is_named(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(InputError, match=r"metrics\.csv"):
        training_curves([tmp_path / "metrics.csv"])


def test_an_empty_table_has_no_charts(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/loss\n")
    assert training_curves([tmp_path / "metrics.csv"]) == []

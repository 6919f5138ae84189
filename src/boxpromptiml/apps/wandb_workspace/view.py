"""Panels of a W&B view for everything that training and testing log. docs/wandb.md describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from boxpromptiml.core.records import InputError

if TYPE_CHECKING:  # an optional and slow import
    import wandb_workspaces.workspaces as ws

STEP = "trainer/global_step"
CURVES: Mapping[str, Mapping[str, Sequence[str] | str]] = {
    "Agreement with the teacher": {
        "F1 to the pseudo-mask": ["val/f1_pseudo_mask"],
        "F1 to the truth": ["val/f1_truth"],
        "IoU": ["val/iou_pseudo_mask", "val/iou_truth"],
        "F1 to the pseudo-mask, set by set": "^val/f1_pseudo_mask/.+",
        "F1 to the truth, set by set": "^val/f1_truth/.+",
    },
    "Loss": {
        "loss": ["train/loss", "val/loss"],
        "terms, unweighted": ["val/bce", "val/dice", "val/focal"],
        "box terms, unweighted": ["val/outside", "val/tightness"],
        "learning rate": "^lr-.+",
    },
    "Gates": {
        "mean": "^val/gate_mean/.+",
        "standard deviation": "^val/gate_std/.+",
        "share near 0": "^val/gate_near_0/.+",
        "share near 1": "^val/gate_near_1/.+",
    },
    "Memory": {
        "evenness of reading": ["val/memory_evenness/position", "val/memory_evenness/bank"],
        "share of dead prototypes": ["val/memory_dead"],
        "cosine to the nearest prototype": ["val/memory_similarity/mean", "val/memory_similarity/max"],
    },
    "Speed": {
        "images per second": ["time/images_per_second"],
        "share waiting for data": ["time/share_waiting_for_data"],
    },
    "Test": {
        "F1": "^test/f1/.+",
        "IoU": "^test/iou/.+",
        "AUC": "^test/auc/.+",
        "pixels of authentic images marked": "^test/false_alarm_area/.+",
    },
}
"""Section → title → metrics of a panel, or a regular expression that matches them."""
MEDIA = {"Pictures": ["panels"], "Memory": ["memory/usage", "memory/similarity"]}
TABLES = {"Worst cases": ["val/worst", "test/worst", "test/false_alarms"], "Memory": ["memory/prototypes"]}
SWEPT = (
    *("model.lr", "model.student.init_args.alpha", "model.student.init_args.prototypes"),
    "model.loss.init_args.dice",
)
"""Hyperparameters shown with the score in a sweep's parallel coordinates."""
ORDER = ("Agreement with the teacher", "Pictures", "Worst cases", "Loss", "Gates", "Memory", "Speed", "Test", "Sweep")


def build(project: str, entity: str, name: str) -> ws.Workspace:
    """Build the view without saving it; needs no network."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    panels: dict[str, list[Any]] = {section: [] for section in ORDER}
    for section, curves in CURVES.items():
        for title, metrics in curves.items():
            found = {"metric_regex": metrics} if isinstance(metrics, str) else {"y": list(metrics)}
            panels[section].append(wr.LinePlot(title=title, x=STEP, **found))
    for section, keys in MEDIA.items():
        panels[section] += [wr.MediaBrowser(title=key, media_keys=[key]) for key in keys]
    for section, keys in TABLES.items():
        panels[section] += [wr.WeavePanelSummaryTable(table_name=key) for key in keys]
    score = "val/f1_pseudo_mask"
    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(setting)) for setting in SWEPT]
    columns.append(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(score)))
    panels["Sweep"] = [wr.ParallelCoordinatesPlot(columns), wr.ParameterImportancePlot(with_respect_to=score)]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            ws.Section(name=section, panels=found, is_open=place < 3)
            for place, (section, found) in enumerate(panels.items())
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=50),
        runset_settings=ws.RunsetSettings(groupby=[ws.Metric("Group")]),
    )


def described(view: ws.Workspace) -> dict[str, Any]:
    """Describe a view as JSON: its sections, their panels, and the panels' settings that differ from the defaults."""
    from pydantic import TypeAdapter

    def stated(panel: Any) -> dict[str, Any]:
        fields = TypeAdapter(type(panel)).dump_python(panel, mode="json", exclude_none=True, exclude_defaults=True)
        return {name: value for name, value in fields.items() if not name.startswith("_")}

    return {
        "entity": view.entity,
        "project": view.project,
        "name": view.name,
        "sections": [
            {"name": s.name, "panels": [{"kind": type(p).__name__, **stated(p)} for p in s.panels]}
            for s in view.sections
        ],
    }


def save(view: ws.Workspace, entity: str | None) -> None:
    """Save a view at W&B and print its address; ``entity`` is the project's owner, by default the account's.

    Raises:
        InputError: the server returns an error or cannot be reached.
    """
    import wandb

    try:
        view.entity = entity or wandb.Api().default_entity or ""
        view.save()
    except (wandb.Error, OSError) as error:
        raise InputError(
            f"the view could not be saved at W&B ({str(error).splitlines()[0]}); check the network, the API key "
            "and --entity, or write it to a file: --dry_run --out view.json"
        ) from None
    print(f"view: {view.url}")

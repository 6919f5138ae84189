"""The command ``boxpromptiml workspace``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from boxpromptiml.core.records import InputError
from boxpromptiml.runtime import provenance
from boxpromptiml.runtime.wandb_account import has_account


def workspace(
    project: str = "boxpromptiml",
    entity: str | None = None,
    name: str = "BoxPromptIML",
    out: Path | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
) -> int:
    """Save a view of a W&B project with panels for everything that training and testing log, grouped by study.

    Args:
        project: W&B project of the runs, as named by the config's logger.
        entity: user or team that owns the project; by default the account's.
        name: name of the view in the project's list of saved views.
        out: also write the content of the view as JSON.
        dry_run: only print and write the content of the view; needs neither account nor network.
        overwrite: replace an existing file with different content.

    Raises:
        InputError: wandb-workspaces is not installed, there is no account, the server returns an error, or a different
            file exists.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise InputError("wandb-workspaces is not installed; run: pip install 'boxpromptiml[dashboards]'")
    if not dry_run and not has_account():
        raise InputError(
            "no W&B account is configured; run `wandb login` or set WANDB_API_KEY, or write the view to a file "
            "without one: --dry_run --out view.json"
        )
    from boxpromptiml.apps.wandb_workspace.view import build, described, save  # slow imports

    view = build(project, entity or "", name)
    for section in view.sections:
        print(f"{section.name:<28} {len(section.panels)} panels")
    if out is not None:
        provenance.write_results({out: provenance.json_bytes(described(view))}, overwrite)
        print(f"view: {out}")
    if not dry_run:
        save(view, entity)
    return 0

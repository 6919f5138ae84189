"""The command that creates the W&B workspace view, without a W&B account."""

import json

import pytest
import wandb
from wandb_workspaces.workspaces import internal

from boxpromptiml.apps.wandb_workspace import command
from boxpromptiml.apps.wandb_workspace.view import ORDER
from boxpromptiml.cli import main


@pytest.fixture
def no_account(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_a_dry_run_writes_the_description_of_the_view(no_account, tmp_path, capsys):
    out = tmp_path / "view.json"
    assert main(["workspace", "--project", "mine", "--entity", "us", "--dry_run", "true", "--out", str(out)]) == 0
    view = json.loads(out.read_text())
    assert (view["entity"], view["project"]) == ("us", "mine")
    assert [section["name"] for section in view["sections"]] == list(ORDER)
    assert all(section["panels"] for section in view["sections"])
    kinds = {panel["kind"] for section in view["sections"] for panel in section["panels"]}
    assert kinds >= {"LinePlot", "MediaBrowser", "WeavePanelSummaryTable", "ParallelCoordinatesPlot"}
    assert str(out) in capsys.readouterr().out


def test_the_saved_view_is_the_described_one(monkeypatch, capsys):
    saved = []
    monkeypatch.setattr(command, "has_account", lambda: True)
    monkeypatch.setattr(internal, "upsert_view2", lambda view: saved.append(view) or {"upsertView": {"view": REPLY}})
    monkeypatch.setattr(wandb, "Api", lambda: type("Api", (), {"default_entity": "me", "client": CLIENT})())
    assert command.workspace(project="mine") == 0
    [view] = saved
    assert (view.entity, view.project, view.display_name) == ("me", "mine", "BoxPromptIML")
    spec = json.dumps(view.spec.model_dump(by_alias=True, exclude_none=True, mode="json"))
    for name in ("val/f1_pseudo_mask", "^val/gate_mean/.+", "memory/similarity", "val/worst", "alpha"):
        assert name in spec
    assert "me/mine" in capsys.readouterr().out


REPLY = {"id": "1", "name": "nw-abc-v"}
CLIENT = type("Client", (), {"app_url": "https://wandb.ai"})()


def test_without_an_account_nothing_is_tried(no_account, capsys):
    assert main(["workspace"]) == 2
    message = capsys.readouterr().err
    assert "wandb login" in message
    assert "--dry_run" in message
    assert message.count("\n") == 1


def test_a_refusal_by_the_server_is_one_line(monkeypatch, capsys):
    def refuse():
        raise wandb.CommError("permission denied\nand a long story")

    monkeypatch.setattr(command, "has_account", lambda: True)
    monkeypatch.setattr(wandb, "Api", refuse)
    assert main(["workspace"]) == 2
    assert "(permission denied); check the network" in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert main(["workspace", "--dry_run", "true"]) == 2
    assert "boxpromptiml[dashboards]" in capsys.readouterr().err

"""A W&B key is found where `wandb login` and users put it."""

import pytest

from boxpromptiml.runtime.wandb_account import has_account


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_without_a_key_there_is_no_account():
    assert not has_account()


def test_a_key_in_the_environment_is_found(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert has_account()


@pytest.mark.parametrize("machine", ["api.wandb.ai", "api.forge.coreweave.com"])
def test_a_key_saved_by_login_is_found(empty_home, machine):
    netrc = empty_home / ".netrc"
    netrc.write_text(f"machine {machine}\n  login user\n  password {'x' * 40}\n")
    netrc.chmod(0o600)
    assert has_account()


def test_a_private_server_has_its_own_key(empty_home, monkeypatch):
    netrc = empty_home / "elsewhere"
    netrc.write_text(f"machine wandb.example.org\n  login user\n  password {'x' * 40}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert not has_account()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert has_account()


def test_a_broken_file_counts_as_no_account(empty_home):
    (empty_home / ".netrc").write_text("machine\n")
    assert not has_account()

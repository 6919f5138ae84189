"""The web app accepts requests to its own address and its own routes only."""

from pathlib import Path

import pytest
from starlette.datastructures import Headers

from boxpromptiml.apps.http_security import LOOPBACK
from boxpromptiml.apps.web_app.middleware import FILES, UPLOAD, PageMiddleware

HOME = {"host": "127.0.0.1:7860"}


@pytest.fixture
def status(tmp_path):
    guard = PageMiddleware(None, tmp_path / "ours", 10_000_000, LOOPBACK)
    (tmp_path / "ours").mkdir()

    def status(method, path, **headers):
        given = HOME | {name.replace("_", "-"): value for name, value in headers.items()}
        refusal = guard.refusal(method, path, Headers(given))
        return refusal[0] if refusal else 200

    status.folder = tmp_path
    return status


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860", "[::1]"])
def test_names_of_this_machine_are_accepted(status, host):
    assert status("GET", "/", host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "192.168.0.7:7860"]
)
def test_a_foreign_host_name_that_resolves_here_is_refused(status, host):
    assert status("GET", "/", host=host) == 403


def test_an_open_host_accepts_any_name():
    assert PageMiddleware(None, Path(), 1, None).refusal("GET", "/", Headers({"host": "lab.example"})) is None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8000", "http://localhost:7860"])
def test_requests_from_other_origins_are_refused(status, origin):
    assert status("POST", "/gradio_api/queue/join", origin=origin, content_length="10") == 403
    assert status("GET", "/config", sec_fetch_site="cross-site", sec_fetch_mode="no-cors") == 403


def test_links_to_it_and_requests_from_itself_are_accepted(status):
    assert status("GET", "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate") == 200
    origin = "http://127.0.0.1:7860"
    assert status("POST", UPLOAD, origin=origin, sec_fetch_site="same-origin", content_length="10") == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=http://example.com",
        "/gradio_api/vibe-edit",
        "/gradio_api/call/f",
        "/gradio_api/run/f",
        "/gradio_api/dev/reload",
        "/gradio_api/info",
        "/monitoring",
        "/gradio_api/runs",
        "/login",
        "/docs",
        "/openapi.json",
        "/gradio_api/stream/a/b/c/playlist-file",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_routes_that_the_page_does_not_need_are_closed(status, method, path):
    assert status(method, path, content_length="2") == 404


def test_only_get_head_and_post_are_accepted(status):
    assert {status(method, "/") for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")} == {405}


def test_files_are_served_from_the_apps_own_folder_only(status):
    folder = status.folder / "ours"
    (folder / "mask.png").touch()
    (status.folder / "secret").touch()
    (folder / "link").symlink_to(status.folder / "secret")
    (folder / "ring").symlink_to(folder / "ring")
    assert status("GET", f"{FILES}{folder}/mask.png") == 200
    strangers = ["/etc/passwd", "secret", "", "~/x", f"{folder}/../secret", f"{folder}/link", f"{folder}/ring", "/\0"]
    strangers += [f"{folder}\u2215..\u2215secret", "http://example.com/x.png", "C:\\x", "/" + "x" * 5000, "file:///x"]
    assert {name: status("GET", f"{FILES}{name}") for name in strangers if status("GET", f"{FILES}{name}") != 403} == {}


@pytest.mark.parametrize(
    ("path", "length", "expected"),
    [
        (UPLOAD, "9000000", 200),
        (UPLOAD, "99000000", 413),
        ("/gradio_api/queue/join", "9000000", 413),
        (UPLOAD, "", 411),
        (UPLOAD, "-5", 411),
        (UPLOAD, "1e9", 411),
    ],
)
def test_a_body_too_large_or_of_unknown_length_is_refused_unread(status, path, length, expected):
    assert status("POST", path, content_length=length) == expected

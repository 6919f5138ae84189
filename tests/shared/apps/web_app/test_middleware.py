"""The page answers its own address, its own routes and nothing else."""

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
def test_it_answers_to_the_names_of_this_machine(status, host):
    assert status("GET", "/", host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "192.168.0.7:7860"]
)
def test_a_name_that_somebody_else_points_here_is_refused(status, host):
    assert status("GET", "/", host=host) == 403


def test_an_open_host_answers_to_any_name():
    assert PageMiddleware(None, Path(), 1, None).refusal("GET", "/", Headers({"host": "lab.example"})) is None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8000", "http://localhost:7860"])
def test_other_pages_may_not_use_it(status, origin):
    assert status("POST", "/gradio_api/queue/join", origin=origin, content_length="10") == 403
    assert status("GET", "/config", sec_fetch_site="cross-site", sec_fetch_mode="no-cors") == 403


def test_it_may_be_linked_to_and_used_from_itself(status):
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


def test_only_reading_and_posting(status):
    assert {status(method, "/") for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")} == {405}


def test_files_come_from_the_pages_own_folder_alone(status):
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
def test_what_is_too_large_or_does_not_say_is_refused_before_it_is_read(status, path, length, expected):
    assert status("POST", path, content_length=length) == expected

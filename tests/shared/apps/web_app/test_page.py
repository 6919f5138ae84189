"""The served page: local only, no access to the rest of the disk, and a hint in every tab without content."""

import base64
import http.client
import json
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from boxpromptiml.apps.web_app.annotate_tab import AnnotationContext
from boxpromptiml.apps.web_app.annotation_session import AnnotationSession
from boxpromptiml.apps.web_app.page import Contents, served
from boxpromptiml.apps.web_app.teacher_preview import Previewer
from boxpromptiml.core.records import InputError
from stage1_pseudomask.teachers.grabcut import GrabCut


@pytest.fixture(scope="module")
def address(open_page):
    return open_page(Contents())


def ask(address, path, method="GET", body=None, **headers):
    """Send one request without normalizing its path."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    content = b"" if body is None else body
    for name, value in ({"Content-Length": str(len(content))} | headers).items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(content)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_it_listens_on_this_machine_only(address):
    assert urlsplit(address).hostname == "127.0.0.1"
    with socket.socket() as outside:
        outside.settimeout(1)
        own = socket.gethostbyname(socket.gethostname())
        if own.startswith("127."):
            pytest.skip("this machine has no address of its own")
        assert outside.connect_ex((own, urlsplit(address).port)) != 0


def test_a_port_in_use_is_named(address):
    with (
        pytest.raises(InputError, match=r"127.0.0.1, port \d+: the port is in use, .* choose another --port"),
        served(Contents(), port=urlsplit(address).port),
    ):
        pass


def test_a_host_that_is_not_this_machine_is_named():
    with pytest.raises(InputError, match="not of this machine"), served(Contents(), host="192.0.2.1", port=7999):
        pass


def test_the_page_contacts_no_other_host(address):
    status, body, headers = ask(address, "/")
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    config = json.loads(ask(address, "/config")[1])
    assert not config["analytics_enabled"]
    assert not config.get("is_space")
    assert b"fonts.googleapis" not in body


ESCAPES = [
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=../../../../etc/passwd",
    "/gradio_api/file={ours}/../../etc/passwd",
    "/gradio_api/file={ours}/%2e%2e/%2e%2e/etc/passwd",
    "/gradio_api/file={ours}/..%2f..%2fetc%2fpasswd",
    "/gradio_api/file={ours}/link",
    "/gradio_api/file=%2fetc%2fpasswd",
    "/gradio_api/file=%EF%BC%8Fetc%EF%BC%8Fpasswd",
    "/gradio_api/file=file:///etc/passwd",
    "/gradio_api/file=http://127.0.0.1:1/x",
    "/gradio_api/file/etc/passwd",
    "/file=/etc/passwd",
    "/static/../../../../../../etc/passwd",
    "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/assets/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
    "/svelte/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
    "//etc/passwd",
    "/gradio_api/custom_component/x/client/..%2f../..%2fetc%2fpasswd",
    "/gradio_api/proxy=file:///etc/passwd",
    "/gradio_api/stream/a/1/2/playlist-file",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out_of_the_served_files(address, path):
    ours = Path(os.environ["GRADIO_TEMP_DIR"])
    link = ours / "link"
    if not link.is_symlink():
        link.symlink_to("/etc/passwd")
    status, body, _ = ask(address, path.format(ours=ours))
    assert status >= 400
    assert b"root:" not in body


def test_the_name_of_an_upload_cannot_choose_its_folder(address, tmp_path):
    ours = Path(os.environ["GRADIO_TEMP_DIR"])
    for name in (f"{tmp_path}/a.png", "../../a.png", "..\\..\\a.png", "\u2024\u2024/a.png", ".", "a\u202egnp.exe"):
        part = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\nx\r\n--b--\r\n'
        kind = "multipart/form-data; boundary=b"
        status, body, _ = ask(address, "/gradio_api/upload", "POST", part.encode(), Content_Type=kind)
        for path in json.loads(body) if status == 200 else []:
            assert Path(path).resolve().is_relative_to(ours.resolve())
            Path(path).unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.png"
    Image.new("RGB", (40, 30), (1, 2, 3)).save(path)
    return path


def malicious_values(secret):
    """Malicious values for any input of any event."""
    file = {"path": str(secret), "orig_name": "a.png", "size": 1, "meta": {"_type": "gradio.FileData"}}
    box = {"xmin": 1, "ymin": 1, "xmax": 30, "ymax": 20}
    yield from (file, file | {"meta": None}, {"image": file, "boxes": [box]})
    yield {"image": file | {"path": f"{os.environ['GRADIO_TEMP_DIR']}/../{secret.name}"}, "boxes": [box]}


def test_forged_events_read_and_write_nothing(open_page, localizer, secret, tmp_path, disk):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(disk(np.random.default_rng(0), 60, 80, (40, 30), 12)[0]).save(photos / "a.png")
    address = open_page(Contents(localizer, AnnotationContext(AnnotationSession(photos), Previewer(GrabCut()))))
    content, around = secret.read_bytes(), set(tmp_path.iterdir())
    events = json.loads(ask(address, "/config")[1])["dependencies"]
    asked = 0
    for lie in malicious_values(secret):
        for event in events:
            message = {"data": [lie] * len(event["inputs"]), "fn_index": event["id"], "session_hash": f"s{asked}"}
            body = json.dumps(message).encode()
            status, _, _ = ask(address, "/gradio_api/queue/join", "POST", body, Content_Type="application/json")
            if status != 200:
                continue
            response = ask(address, f"/gradio_api/queue/data?session_hash=s{asked}")[1].decode()
            asked += 1
            assert "process_completed" in response
            assert base64.b64encode(content)[:60].decode() not in response
    assert asked > 50
    assert secret.read_bytes() == content
    assert set(tmp_path.iterdir()) == around
    assert {path.name for path in photos.iterdir()} <= {"a.png", "annotation.json", "manifest.json"}
    assert not list(photos.rglob("*secret*"))


def test_a_page_of_another_site_cannot_reach_it(address):
    assert ask(address, "/", Host="evil.example")[0] == 403
    assert ask(address, "/config", Origin="http://evil.example")[0] == 403


def test_without_content_each_tab_says_how_to_start(visit, address):
    page = visit(address)
    page.wait_for_selector("text=boxpromptiml app")
    assert page.left == []


def test_the_files_of_the_page_are_deleted_with_it():
    with served(Contents()):
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert folder.stat().st_mode & 0o077 == 0  # private to the user
    assert not folder.exists()

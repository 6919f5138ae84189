"""Bad files in `predict`, the web app and the service: each is refused with its message, good photos still work."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from bad_inputs import KINDS, photo

from boxpromptiml.cli import main
from boxpromptiml.images import ImageError, read_photo

GOOD = {"a.jpg": "JPEG", "m.png": "PNG", "z.webp": "WEBP"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of all bad files, with good photos before, between and after them."""
    folder = tmp_path_factory.mktemp("photos")
    for kind in KINDS:
        (folder / kind.name).write_bytes(kind.content())
    for name, form in GOOD.items():
        (folder / name).write_bytes(photo(form))
    return folder


@pytest.fixture
def opened():
    """Names of the files that this process opens during the test."""
    names, on = [], [True]

    def note(event, arguments):
        if on and event in ("open", "os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink"):
            names.append(str(arguments[0]))

    sys.addaudithook(note)  # cannot be removed, hence the switch
    yield names
    on.clear()


def test_there_are_sixty_distinct_kinds():
    contents = {kind.content() for kind in KINDS if kind.words != "the file is empty"}
    assert len(KINDS) >= 60
    assert len(contents) == len([kind for kind in KINDS if kind.words != "the file is empty"])


def test_predict_sets_them_aside_and_continues(folder, localizer, tmp_path, capsys):
    localizer.save(tmp_path / "model")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    arguments = ["--checkpoint", tmp_path / "model", "--images", folder, "--out", tmp_path / "out", "--workers", "0"]
    assert main(["predict", *map(str, arguments)]) == 3
    found = json.loads((tmp_path / "out/predictions.json").read_text())
    reasons = {item["file"].rsplit("/", 1)[1]: item["reason"] for item in found["set_aside"]}
    assert set(reasons) == {kind.name for kind in KINDS}
    wrong = {name: reasons[name] for name in reasons if not has_expected_message(reasons[name], folder / name)}
    assert wrong == {}
    assert [item["file"].rsplit("/", 1)[1] for item in found["images"]] == list(GOOD)
    said = capsys.readouterr()
    assert all(f"skipped: {reason}\n" in said.out for reason in reasons.values())
    assert "Traceback" not in said.out + said.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"model", "out"}


def has_expected_message(line, name):
    (kind,) = (kind for kind in KINDS if kind.name == name.name)
    return line.startswith(f"{name}: ") and kind.words in line and len(line.splitlines()) == 1


def test_the_service_refuses_them_and_localizes_the_others(localizer, opened):
    pytest.importorskip("fastapi", reason="the service is the extra `serve`: pip install 'boxpromptiml[serve]'")
    pytest.importorskip("uvicorn", reason="the service is the extra `serve`: pip install 'boxpromptiml[serve]'")
    from service_client import served

    from boxpromptiml.apps.serve.request_limits import RequestLimits

    with served(localizer, RequestLimits()) as send, ThreadPoolExecutor(8) as pool:
        opened.clear()
        good = [pool.submit(send.photo, photo(form), name) for name, form in GOOD.items()]
        bad = {kind: pool.submit(send.photo, kind.content(), kind.name) for kind in KINDS}
        good += [pool.submit(send.photo, photo(form), name) for name, form in GOOD.items()]
        assert [reply.result().status for reply in good] == [200] * 6
        replies = {kind: reply.result() for kind, reply in bad.items()}
        touched = list(opened)
    wrong = {
        kind.name: reply.body
        for kind, reply in replies.items()
        if (reply.status, list(reply.content)) != (kind.status, ["error"])
        or not reply.content["error"].startswith(f"{kind.name}: ")
        or kind.words not in reply.content["error"]
    }
    assert wrong == {}
    assert not [name for name in touched if any(kind.name in name for kind in KINDS)]


def test_the_web_app_shows_the_reason(folder, localizer, tmp_path):
    pytest.importorskip("gradio", reason="the page is the extra `app`: pip install 'boxpromptiml[app]'")
    from boxpromptiml.apps.web_app import markup
    from boxpromptiml.apps.web_app.localize_photo import localize_upload

    messages = {}
    for kind in KINDS:
        upload = tmp_path / "upload.bin"
        upload.write_bytes(kind.content())
        with pytest.raises(ImageError) as caught:
            localize_upload(localizer, upload, kind.name)
        messages[kind.name] = str(caught.value)
        assert not upload.exists()
    assert {
        name: line
        for name, line in messages.items()
        if not has_expected_message(str(folder / name) + line[len(name) :], folder / name)
    } == {}
    assert "<script" not in markup.notice(messages["a page.jpg"], "error")


ESCAPES = [
    "../../secret.txt",
    "..\\..\\secret.txt",
    "/tmp/secret.txt",
    "C:\\secret.txt",
    "\\\\server\\share\\secret.txt",
    "file:///tmp/secret.txt",
    "secret.txt\0.jpg",
    "..%2f..%2fsecret.txt",
    "%2e%2e/secret.txt",
    "．．／secret.txt",
    "\u2025/secret.txt",
    "a\u202esecret.txt",
    "~/secret.txt",
    "$HOME/secret.txt",
    "`touch secret.txt`",
    "| touch secret.txt",
    "CON.secret.txt",
    "secret.txt:stream",
    "secret.txt" + "/." * 50,
]


def test_names_that_point_outside_read_and_write_nothing(localizer, opened):
    pytest.importorskip("fastapi", reason="the service is the extra `serve`: pip install 'boxpromptiml[serve]'")
    from urllib.parse import quote

    from service_client import served

    from boxpromptiml.apps.serve.request_limits import RequestLimits

    with served(localizer, RequestLimits()) as send:
        send.photo(photo())
        opened.clear()
        for name in ESCAPES:
            sent = name.replace("\0", "%00")
            assert send.photo(photo(), sent).status in (200, 422)
            assert (
                send("POST", "/localize", photo(), content_type="image/jpeg", content_location=quote(name)).status
                == 200
            )
            for path in (
                f"/{quote(name)}",
                f"/localize/{quote(name)}",
                f"/docs/{quote(name)}",
                f"/{quote(name, safe='')}",
            ):
                reply = send("GET", path)
                assert reply.status == 404, path
                assert b"secret" not in reply.body
        assert opened == []


def test_a_link_in_a_folder_of_photos_is_read_and_never_written(localizer, tmp_path):
    """A folder given by the user includes the photos it links to; output never follows links out of its folder."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "elsewhere.jpg").write_bytes(photo())
    (tmp_path / "photos/linked.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    (tmp_path / "photos/..odd\\name\u202e.jpg").write_bytes(photo())
    localizer.save(tmp_path / "model")
    (tmp_path / "out/masks").mkdir(parents=True)
    (tmp_path / "out/masks/linked.png").symlink_to(tmp_path / "elsewhere.jpg")
    arguments = ["--checkpoint", "model", "--images", "photos", "--out", "out"]
    given = [str(tmp_path / word) if not word.startswith("--") else word for word in arguments]
    assert main(["predict", *given, "--workers", "0"]) == 0
    assert (tmp_path / "elsewhere.jpg").read_bytes() == photo()
    assert read_photo(tmp_path / "out/masks/linked.png").shape == read_photo(tmp_path / "elsewhere.jpg").shape

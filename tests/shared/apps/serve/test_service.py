"""Responses of the service: the same results as the library's, or the reason for an error."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from boxpromptiml import Localizer
from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.images import to_uint8


def picture(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_a_response_equals_the_result_of_the_library(send, localizer, photo_file):
    reply = send.photo(photo_file.read_bytes(), query="?probability=true")
    found = localizer.predict(photo_file)
    assert reply.status == 200
    answer = reply.content
    assert (answer["width"], answer["height"], answer["threshold"]) == (90, 70, 0.4)
    assert answer["score"] == pytest.approx(found.score, abs=1e-5)
    assert answer["area"] == pytest.approx(found.mask.mean(), abs=1e-3)
    np.testing.assert_array_equal(picture(answer["mask"]) == 255, found.mask)
    np.testing.assert_allclose(picture(answer["probability"]), to_uint8(found.probability), atol=1)
    assert [tuple(region["box_xyxy"]) for region in answer["regions"]] == [r.box_xyxy for r in found.regions]
    assert [[tuple(p) for p in region["outline"]] for region in answer["regions"]] == [r.outline for r in found.regions]


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "IMAGE/JPEG; q=1", ""])
def test_the_photo_may_be_the_raw_body(send, photo_file, kind):
    headers = {"content_type": kind} if kind else {}
    assert send("POST", "/localize", photo_file.read_bytes(), **headers).status == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?threshold=50", "threshold is 50; use a probability from 0 to below 1, such as 0.5 for 50 %"),
        ("?treshold=0.3", "unknown option 'treshold'; the options are: mask, probability, threshold"),
        ("?threshold=nan", "threshold is nan; use a probability"),
        ("?mask=svg", "mask: "),
        ("?probability=x", "probability: "),
    ],
)
def test_invalid_parameters_are_refused_in_one_line(send, photo_file, query, words):
    reply = send.photo(photo_file.read_bytes(), query=query)
    assert reply.status == 422
    assert reply.content["error"].startswith(words)
    assert "\n" not in reply.content["error"]


def test_it_describes_itself(send, localizer):
    health = send("GET", "/health").content
    assert health["status"] == "ok"
    assert health["weights_sha256"] == localizer.weights_sha256()
    described = send("GET", "/openapi.json").content
    answers = described["paths"]["/localize"]["post"]["responses"]
    assert {"200", "408", "413", "415", "422", "503"} <= set(answers)
    assert send("GET", "/localize").status == 405
    assert send("GET", "/nothing").content == {"error": "Not Found"}


def test_the_documentation_page_loads_nothing_from_other_hosts(send, visit):
    page = visit(f"http://127.0.0.1:{send.port}/docs")
    page.locator(".opblock-post .opblock-summary-control").click()
    page.get_by_text("Localize manipulations in one photo").wait_for()
    assert page.left == []


def test_concurrent_requests_get_their_own_results(send, localizer, tmp_path):
    rng = np.random.default_rng(1)
    paths = [tmp_path / f"{i}.png" for i in range(12)]
    for i, path in enumerate(paths):
        Image.fromarray(rng.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8)).save(path)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda path: send.photo(path.read_bytes(), path.name).content, paths))
    assert [answer["file"] for answer in answers] == [path.name for path in paths]
    for path, answer in zip(paths, answers, strict=True):
        assert answer["score"] == pytest.approx(localizer.predict(path).score, abs=1e-5)


def test_a_failure_is_reported_without_its_traceback(start, localizer, photo_file, monkeypatch, capsys):
    monkeypatch.setattr(Localizer, "localize_scored", lambda self, photos: [][0])
    with start(localizer, RequestLimits()) as send:
        reply = send.photo(photo_file.read_bytes())
    assert reply.status == 500
    assert reply.content == {"error": "internal error; see the service's log"}
    assert "IndexError" in capsys.readouterr().err

"""Fixtures: samples, a small complete cache, a small student, and a browser."""

import os
import shutil
from dataclasses import fields
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest

from boxpromptiml.core.records import Sample, SetAside, Stamp
from boxpromptiml.runtime.provenance import content_hash, write_json
from boxpromptiml.shards import SCHEMA, write_index, write_shard

SIZE = 8
SETTINGS = {"manifest": "of the manifest", "margin": 0.05}


@pytest.fixture(scope="session")
def stamp():
    return Stamp(SCHEMA, SIZE, "grabcut", "", content_hash(SETTINGS), "0.1.0")


@pytest.fixture(scope="session")
def make_sample():
    """Function that returns a sample determined by its image id."""

    def make_sample(image_id, boxes=1, split="train", authentic=False):
        rng = np.random.default_rng(image_id)
        return Sample(
            image_id=image_id,
            image=rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
            pseudo_mask=rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8),
            truth=None if image_id % 2 else rng.integers(0, 2, (SIZE, SIZE), dtype=np.uint8) * 255,
            boxes_xyxy=np.sort(rng.random((boxes, 2, 2), dtype=np.float32), axis=1).reshape(boxes, 4) * SIZE,
            teacher_scores=rng.random(boxes, dtype=np.float32),
            source=f"set {image_id % 3}",
            split=split,
            authentic=authentic,
            kind="splice",
            width=640,
            height=480,
        )

    return make_sample


@pytest.fixture(scope="session")
def same():
    """Whether two samples are equal in every field."""
    return lambda a, b: all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(Sample))


@pytest.fixture
def make_cache(tmp_path, stamp, make_sample):
    """Function that writes a complete cache: samples first to first + 5 in two shards, the first from process 1."""

    def make_cache(name="cache", first=0, stamp=stamp, **settings):
        folder = tmp_path / name
        early = [make_sample(i, boxes=i % 3) for i in range(first, first + 4)]
        late = [make_sample(first + 4, split="val"), make_sample(first + 5, 0, authentic=True)]
        write_shard(folder / "shard-001-00000.h5", early, [], stamp, 2.0)
        write_shard(folder / "shard-000-00001.h5", late, [SetAside(first + 6, "six.jpg", "empty")], stamp, 1.0)
        write_json(folder / "settings.json", SETTINGS | settings)
        write_index(folder, stamp, [SetAside(first + 7, "seven.jpg", "no box")])
        return folder

    return make_cache


@pytest.fixture
def cache(make_cache):
    return make_cache()


@pytest.fixture
def flip(make_sample):
    """Function that flips one bit in the stored image of a sample."""

    def flip(path, image_id, boxes=1):
        content = bytearray(path.read_bytes())
        content[content.find(make_sample(image_id, boxes).image.tobytes()) + 5] ^= 1
        path.write_bytes(content)

    return flip


@pytest.fixture(scope="session")
def localizer():
    """A student with random weights and an input of 64 × 64 pixels."""
    from stage2_distill.inference.localizer import Localizer
    from stage2_distill.model.student import Student

    student = Student("mobilenetv3_small_050", pretrained=False, image_size=64, channels=16, prototypes=4)
    return Localizer.from_student(student, threshold=0.4, calibration="of a test")


@pytest.fixture(scope="session")
def browser():
    """Chromium from Debian, from Playwright or from an environment variable; without it, browser tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright here: pip install playwright")
    with playwright.sync_playwright() as started:
        named = os.environ.get("BOXPROMPTIML_CHROMIUM")
        known = [named, *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))]
        paths = [path for path in [*known, started.chromium.executable_path] if path and Path(path).exists()]
        if not paths:
            pytest.skip("no Chromium here; install it, or name one with BOXPROMPTIML_CHROMIUM")
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        chromium = started.chromium.launch(executable_path=paths[0], args=[*sandbox, "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Function that opens an address in a laptop-sized window; requests to other hosts are in ``page.left``."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, accept_downloads=True)
    context.set_default_timeout(60_000)  # for busy machines

    def visit(address):
        page = context.new_page()
        page.left = []
        ours = ("data:", "blob:", "about:", urljoin(address, "/"))
        page.on("request", lambda request: None if request.url.startswith(ours) else page.left.append(request.url))
        page.goto(address)
        return page

    visit.close = lambda: [page.close() for page in context.pages]
    yield visit
    context.close()

"""Miniature data sets: every photo is noise of 24 × 16 pixels, every mask marks the same rectangle."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from boxpromptiml.datasets.layout import ListedImage
from boxpromptiml.datasets.prepare import prepare
from boxpromptiml.images import read_record, write_photo
from boxpromptiml.manifests.manifest import read_manifest

WIDTH, HEIGHT = 24, 16
MARKED = np.zeros((HEIGHT, WIDTH), bool)
MARKED[4:10, 6:14] = True
BOX = [6, 4, 14, 10]


@dataclass
class Tree:
    """Writer of a miniature data set."""

    root: Path

    def photos(self, *names, width=WIDTH, height=HEIGHT):
        for name in names:
            self._write(name, np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), np.uint8))

    def masks(self, *names, marked=(255, 255, 255), rest=(0, 0, 0), region=MARKED):
        """Write masks in any two colours."""
        for name in names:
            self._write(name, np.where(region[..., None], np.uint8(marked), np.uint8(rest)))

    def wrong_size(self, *names, width, height):
        """Write masks of another size, white except for their first column."""
        self.masks(*names, region=np.indices((height, width))[1] > 0)

    def _write(self, name, picture):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        write_photo(self.root / name, picture)


@dataclass
class Outcome:
    """Outcome of `prepare`: exit code, records by image path below the root, printed lines."""

    code: int
    records: dict
    output: list

    @property
    def forged(self):
        return {name: record for name, record in self.records.items() if not record.authentic}

    @property
    def authentic(self):
        return {name for name, record in self.records.items() if record.authentic}

    def lines(self, start):
        return [line.removeprefix(f"{start}: ") for line in self.output if line.startswith(f"{start}: ")]


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "set").mkdir()
    return Tree(tmp_path / "set")


@pytest.fixture
def prepared(tree, tmp_path, capsys):
    """Function that prepares the tree with tight boxes and checks invariants of the manifest."""

    def run(layout, root=None, **more):
        code = prepare(
            tmp_path / "out" / "mini.json", layout, root or tree.root, looseness=0, workers=1, overwrite=True, **more
        )
        manifest = read_manifest(tmp_path / "out" / "mini.json")
        assert manifest.set_aside == []
        for record in manifest.records:
            if not record.authentic:
                mask = read_record(record)[1]
                assert record.boxes_xyxy.tolist() == [BOX], "the mask says where, white = manipulated"
                assert mask.sum() == MARKED.sum()
        names = [record.path.resolve().relative_to(tree.root).as_posix() for record in manifest.records]
        return Outcome(code, dict(zip(names, manifest.records, strict=True)), capsys.readouterr().out.splitlines())

    return run


@pytest.fixture
def groups():
    """Function that returns the group of each image name in a listing."""

    def of(found):
        return {entry.image.name: entry.group for entry in found.images if isinstance(entry, ListedImage)}

    return of

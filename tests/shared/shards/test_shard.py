from dataclasses import fields, replace

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from boxpromptiml.core.records import Sample, SetAside, Stamp
from boxpromptiml.shards import CacheError, DamageError, read_shard, salvage, write_shard
from boxpromptiml.shards.shard import PIXELS

SIZE = 8
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
# Noise is incompressible and stored as it is; a constant mask is compressed.
pixels = hnp.arrays(np.uint8, (SIZE, SIZE)) | st.integers(0, 255).map(lambda v: np.full((SIZE, SIZE), v, np.uint8))
words = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)


@st.composite
def samples(draw):
    count = draw(st.integers(0, 3))
    return Sample(
        image_id=draw(st.integers(0, 2**63 - 1)),
        image=draw(hnp.arrays(np.uint8, (SIZE, SIZE, 3))),
        pseudo_mask=draw(pixels),
        truth=draw(st.none() | pixels),
        boxes_xyxy=draw(hnp.arrays(np.float32, (count, 4), elements=st.floats(0, SIZE, width=32))),
        teacher_scores=draw(hnp.arrays(np.float32, count, elements=st.floats(0, 1, width=32))),
        source=draw(words),
        split=draw(st.sampled_from(["train", "val", "test"])),
        authentic=draw(st.booleans()),
        kind=draw(words),
        width=draw(st.integers(1, 10**5)),
        height=draw(st.integers(1, 10**5)),
    )


@settings(in_one_folder, max_examples=30)
@given(
    written=st.lists(samples(), max_size=4),
    set_aside=st.lists(st.builds(SetAside, st.integers(0, 99), words, words), max_size=3),
)
def test_written_samples_are_read_back(tmp_path, stamp, same, written, set_aside):
    path = tmp_path / "shard-000-00000.h5"
    write_shard(path, written, set_aside, stamp)
    read, read_set_aside = read_shard(path, stamp)
    assert len(read) == len(written)
    assert all(same(a, b) for a, b in zip(read, written, strict=True))
    assert read_set_aside == set_aside
    with h5py.File(path) as file:  # any HDF5 program reads the same
        for name in PIXELS:
            wanted = [getattr(sample, name) for sample in written]
            blank = np.zeros((SIZE, SIZE), np.uint8)
            assert all(np.array_equal(a, blank if b is None else b) for a, b in zip(file[name][:], wanted, strict=True))


def test_samples_are_read_without_a_copy_and_are_writable(tmp_path, stamp, make_sample):
    write_shard(tmp_path / "s.h5", [replace(make_sample(0), pseudo_mask=np.zeros((SIZE, SIZE), np.uint8))], [], stamp)
    ((sample,), _) = read_shard(tmp_path / "s.h5", stamp)
    for name in PIXELS:
        getattr(sample, name)[0, 0] = 7  # albumentations writes into its input


@settings(in_one_folder, max_examples=30)
@given(keep=st.floats(0, 0.9999))
def test_a_truncated_shard_is_refused_by_name(tmp_path, stamp, make_sample, keep):
    path = tmp_path / "s.h5"
    write_shard(path, [make_sample(0), make_sample(1)], [], stamp)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(DamageError, match=r"s\.h5: the shard is damaged or cut off .* cache verify --repair"):
        read_shard(path, stamp)


@settings(in_one_folder, max_examples=150)
@given(where=st.floats(0, 0.9999), bit=st.integers(0, 7))
def test_a_flipped_bit_is_detected_or_harmless_and_costs_one_sample_or_the_shard(
    tmp_path, stamp, make_sample, same, where, bit
):
    path = tmp_path / "s.h5"
    written = [make_sample(0), make_sample(1, boxes=3)]
    write_shard(path, written, [SetAside(7, "a.jpg", "empty")], stamp)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(content)
    read, set_aside, damage = salvage(path, stamp)
    by_id = {sample.image_id: sample for sample in written}
    assert all(same(sample, by_id[sample.image_id]) for sample in read)
    if not damage:
        assert (len(read), set_aside) == (2, [SetAside(7, "a.jpg", "empty")])
    else:
        assert len(damage) == 1
        assert len(read) in (0, 1)


def test_salvage_keeps_all_samples_but_the_damaged_one(tmp_path, stamp, make_sample, flip):
    path = tmp_path / "s.h5"
    write_shard(path, [make_sample(i) for i in range(4)], [SetAside(9, "a.jpg", "empty")], stamp)
    flip(path, 2)
    read, set_aside, damage = salvage(path, stamp)
    assert [sample.image_id for sample in read] == [0, 1, 3]
    assert [item.image_id for item in set_aside] == [9]
    assert "image 2 is damaged" in str(damage[0])
    with pytest.raises(DamageError, match="image 2 is damaged"):
        read_shard(path, stamp)


@pytest.mark.parametrize("field", [field.name for field in fields(Stamp)])
def test_a_shard_of_another_run_is_refused_naming_the_field(tmp_path, stamp, make_sample, field):
    write_shard(tmp_path / "s.h5", [make_sample(0)], [], stamp)
    other = replace(stamp, **{field: 99 if isinstance(getattr(stamp, field), int) else "other"})
    with pytest.raises(CacheError, match=rf"s\.h5: made with {field} ") as caught:
        read_shard(tmp_path / "s.h5", other)
    assert not isinstance(caught.value, DamageError)  # the file itself is intact
    assert len(read_shard(tmp_path / "s.h5", None)[0]) == 1

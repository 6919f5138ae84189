"""What can happen to stage one: kills, full and read-only disks, damaged files, bad images."""

from __future__ import annotations

import os
import random
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from disks import can_mount, disk
from photos import POISONS, poison, write_photos
from trials import ASKED, Cache, Content, content, losses

from boxpromptiml.shards import CacheError, read_index
from boxpromptiml.shards.maintenance.verify import DAMAGED, REPAIRED, WHOLE

FINE, REFUSED = (0, 3), 2


@dataclass(frozen=True)
class Bench:
    """State shared by all trials.

    Attributes:
        folder: Working folder.
        manifest: Manifest of the photos used by most trials.
        wanted: Expected content of the cache.
        seconds: Duration of an undisturbed run.
        photos: Number of photos passed to the teacher in an undisturbed run.
    """

    folder: Path
    manifest: Path
    wanted: Content
    seconds: float
    photos: int

    def cache(self, name: str) -> Cache:
        """Cache in a new, empty folder."""
        folder = self.folder / name
        folder.mkdir()
        return Cache(folder, self.manifest)

    def moment(self, rng: random.Random) -> float:
        """Random delay in seconds after the start; the run may already have ended by then."""
        return rng.uniform(0, 1.1 * self.seconds)


@dataclass(frozen=True)
class Trial:
    """Outcome of one trial.

    Attributes:
        message: The line that reported the fault.
        lost: Number of samples and skipped images that differ from the undisturbed cache.
        again: Number of photos passed to the teacher more than once.
    """

    message: str
    lost: int
    again: int = 0


class NotHereError(Exception):
    """The fault cannot be injected on this machine."""


Fault = Callable[[Bench, Cache, random.Random], Trial]


def killed(bench: Bench, cache: Cache, rng: random.Random) -> Trial:
    """SIGKILL at a random moment."""
    asked = ASKED.value
    run = cache.pseudomasks()
    time.sleep(bench.moment(rng))
    run.kill()
    return Trial(_state(cache), _finished(bench, cache), ASKED.value - asked - bench.photos)


def killed_again_and_again(bench: Bench, cache: Cache, rng: random.Random) -> Trial:
    """SIGKILL five times in one run, twice during a repair."""
    asked = ASKED.value
    for turn in range(5):
        run = cache.pseudomasks() if turn < 3 else cache.verify("--repair", "true")
        time.sleep(bench.moment(rng) / 3)
        run.kill()
    return Trial(_state(cache), _finished(bench, cache), ASKED.value - asked - bench.photos)


def disk_full(bench: Bench, cache: Cache, rng: random.Random) -> Trial:
    """A full disk, later enlarged."""
    need = sum(path.stat().st_size for path in (bench.folder / "undisturbed/cache").iterdir())
    room = int(rng.uniform(0.05, 0.95) * need)
    asked = ASKED.value
    if can_mount():
        with disk(cache.folder, room) as remount:
            run = cache.pseudomasks()
            message = _refusal(run.code, run.words, "No space left on device")
            remount("size=64m")
            return Trial(message, _finished(bench, cache), ASKED.value - asked - bench.photos)
    largest = rng.randint(100, 40_000)
    run = cache.pseudomasks(before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)))
    message = _refusal(run.code, run.words, "File too large")
    return Trial(message, _finished(bench, cache), ASKED.value - asked - bench.photos)


def read_only(bench: Bench, cache: Cache, rng: random.Random) -> Trial:
    """A disk that is read-only before or during a run, and writable again later."""
    if not can_mount():
        raise NotHereError("needs root and mount; to root no folder is read-only by its mode")
    asked = ASKED.value
    with disk(cache.folder, 1 << 26) as remount:
        if rng.random() < 0.7:
            run = cache.pseudomasks()
            time.sleep(bench.moment(rng) * 0.7)
            run.kill()
        remount("ro")
        run = cache.pseudomasks()
        code, words = run.code, run.words
        message = words if (cache.path / "index.json").exists() else _refusal(code, words, "Read-only file system")
        remount("rw")
        return Trial(message, _finished(bench, cache), ASKED.value - asked - bench.photos)


def cut_off(bench: Bench, cache: Cache, rng: random.Random) -> Trial:
    """A truncated shard or part of a shard."""

    def cut(data: bytearray) -> None:
        del data[rng.randrange(len(data)) :]

    return _damaged(bench, cache, rng, cut, "*.h5")


def flipped(bench: Bench, cache: Cache, rng: random.Random) -> Trial:
    """One changed byte in any file of a finished or unfinished cache."""

    def flip(data: bytearray) -> None:
        data[rng.randrange(len(data))] ^= rng.randrange(1, 256)

    return _damaged(bench, cache, rng, flip, "*.*")


def two_at_once(bench: Bench, cache: Cache, rng: random.Random) -> Trial:
    """The same command started twice at about the same time."""
    asked = ASKED.value
    first = cache.pseudomasks()
    time.sleep(rng.choice([0, 0, rng.uniform(0, bench.seconds)]))
    second = cache.pseudomasks()
    codes = [first.code, second.code]
    message = next((run.words for run in (first, second) if run.code == REFUSED), "one after the other")
    assert any(code in FINE for code in codes), (first.words, second.words)
    return Trial(message, _finished(bench, cache), ASKED.value - asked - bench.photos)


def clock_backwards(bench: Bench, cache: Cache, rng: random.Random) -> Trial:
    """A clock set back, files dated in the future and in 1970, and a kill in between."""

    def turn_back() -> None:
        now, steps = time.time(), iter(range(1, 10**9))
        time.time = lambda: now - 3600 * next(steps)

    asked = ASKED.value
    for _ in range(2):
        run = cache.pseudomasks(before=turn_back)
        time.sleep(bench.moment(rng) / 2)
        run.kill()
        for path in cache.path.glob("*"):
            os.utime(path, (rng.choice([0, time.time() + 10**9]),) * 2)
    return Trial("(nothing to tell)", _finished(bench, cache), ASKED.value - asked - bench.photos)


def bad_images(bench: Bench, cache: Cache, rng: random.Random) -> Trial:
    """Unreadable and malicious images of every kind among thousands; later they are repaired."""
    return _bad_images(bench, cache, rng, 2_000, 9)


def few_bad_images(bench: Bench, cache: Cache, rng: random.Random) -> Trial:
    """One bad image of every kind in a small set."""
    return _bad_images(bench, cache, rng, 60, 2)


def _finished(bench: Bench, cache: Cache) -> int:
    """Repeat the command undisturbed and count what the cache lacks."""
    run = cache.pseudomasks()
    if run.code not in FINE:
        print(run.words)
        return len(bench.wanted.samples)
    check = cache.verify()
    if check.code != WHOLE:
        print(check.words)
        return 1
    leftovers = [path for path in cache.path.iterdir() if path.name.startswith(("part-", "."))]
    return losses(content(cache.path), bench.wanted) + len(leftovers)


def _state(cache: Cache) -> str:
    """Error that training would report about the cache, as a string."""
    try:
        read_index(cache.path)
    except CacheError as error:
        return str(error)
    return "it had ended"


def _refusal(code: int, words: str, reason: str) -> str:
    """Line that reports a fault; there must be one."""
    return words if code == REFUSED and reason in words else f"TRACEBACK or no word about it: {words}"


def _damaged(bench: Bench, cache: Cache, rng: random.Random, damage: Callable[[bytearray], None], files: str) -> Trial:
    """Damage one file of a finished cache, or of one that was killed, check, repair and finish it."""
    finished = rng.random() < 0.6
    if finished:
        shutil.copytree(bench.folder / "undisturbed/cache", cache.path)
    else:
        run = cache.pseudomasks()
        time.sleep(bench.moment(rng) * 0.7)
        run.kill()
    asked = ASKED.value
    there = sorted(path for path in cache.path.glob(files) if not path.name.startswith("."))
    if not there:
        return Trial("(killed before the first file)", _finished(bench, cache))
    path = rng.choice(there)
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    check = cache.verify()
    message = check.words
    if check.code == DAMAGED:
        lines = check.log.read_text().splitlines()
        message = next((line for line in lines if line.startswith(path.name)), message)
        repair = cache.verify("--repair", "true")
        assert repair.code == REPAIRED, repair.words
    lost = _finished(bench, cache)
    return Trial(f"{path.name}: {message}", lost, ASKED.value - asked if finished else 0)


def _bad_images(bench: Bench, cache: Cache, rng: random.Random, count: int, every: int) -> Trial:
    folder = bench.folder / f"bad-{count}"
    records = write_photos(folder, count, seed=rng.randrange(1000))
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    clean = Cache(bench.folder / f"clean-{count}", folder / "manifest.json")
    clean.folder.mkdir()
    assert clean.pseudomasks().code == 0
    wanted = content(clean.path)

    spoiled = poison(records, every)
    bad = {image_id for image_id, name in spoiled.items() if not POISONS[name].usable}
    spoiled_cache = Cache(cache.folder, folder / "manifest.json")
    run = spoiled_cache.pseudomasks()
    assert run.code == 3, run.words
    found, index = content(spoiled_cache.path), read_index(spoiled_cache.path)
    healthy = {i: sample for i, sample in wanted.samples.items() if i not in spoiled}
    lost = losses(Content({i: s for i, s in found.samples.items() if i not in spoiled}, set()), Content(healthy, set()))
    lost += len({item.image_id for item in index.set_aside} ^ bad)
    lost += sum("\n" in item.reason or not item.reason for item in index.set_aside)
    message = f"{len(bad)} of {len(spoiled)} skipped, such as: {rng.choice(index.set_aside).reason}"

    for path, data in whole.items():
        path.write_bytes(data)
    asked = ASKED.value
    run = spoiled_cache.pseudomasks("--retry", "true")
    assert run.code == 0, run.words
    repaired = content(spoiled_cache.path)
    odd = spoiled.keys() - bad  # images that were usable despite the change keep it
    lost += losses(
        Content({i: s for i, s in repaired.samples.items() if i not in odd}, repaired.set_aside),
        Content({i: s for i, s in wanted.samples.items() if i not in odd}, set()),
    )
    lost += len(odd - repaired.samples.keys())
    return Trial(message, lost, ASKED.value - asked - len(bad))


FAULTS: list[tuple[str, Fault, int, int]] = [
    ("SIGKILL at a random moment", killed, 50, 3),
    ("SIGKILL five times in one run", killed_again_and_again, 6, 1),
    ("disk full", disk_full, 12, 1),
    ("read-only disk", read_only, 8, 1),
    ("truncated shard or part", cut_off, 30, 2),
    ("flipped byte in any file", flipped, 100, 4),
    ("two runs on one cache", two_at_once, 12, 1),
    ("clock going backwards", clock_backwards, 8, 1),
    ("bad images, 22 kinds, among 2,000", bad_images, 1, 0),
    ("bad images, 22 kinds, among 60", few_bad_images, 1, 1),
]
"""Name, fault, number of trials, number of trials with ``--quick``."""

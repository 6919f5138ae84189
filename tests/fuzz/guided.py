"""Coverage-guided fuzzing of one reader with Atheris (libFuzzer for Python).

    python tests/fuzz/guided.py READER SECONDS SEED CURRENT TALLY

`fuzz.py` starts it in a separate process, because the code under test must be imported with Atheris's instrumentation
and libFuzzer never returns. CURRENT holds the file being read; TALLY is written at the end. The exit code is that of
libFuzzer: 70 for a file that took too long, 71 for too much memory.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["boxpromptiml", "PIL", "yaml", "xml"]):
    import fuzz
    import mutations
    from readers import TARGETS


def main() -> None:
    """Read files until the time is over."""
    name, seconds, seed, current, tally = sys.argv[1], float(sys.argv[2]), sys.argv[3], *map(Path, sys.argv[4:])
    warnings.simplefilter("ignore")
    os.environ["BOXPROMPTIML_MAX_PIXELS"] = str(fuzz.PIXELS)
    with tempfile.TemporaryDirectory(dir=fuzz.IN_MEMORY) as holder:
        folder, corpus, words = (Path(holder) / each for each in ("files", "corpus", "words"))
        folder.mkdir()
        corpus.mkdir()
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in mutations.ODD + mutations.NUMBERS))
        with TARGETS[name](folder) as target:
            good = {path: (folder / path).read_bytes() for path in target.files}
            for i, path in enumerate(target.files):  # the first two bytes select the file and the reader
                for j, read in enumerate(target.reads):
                    (corpus / f"{i}-{j}").write_bytes(bytes([i, j]) + good[path])
                    fuzz.outcome(read, folder / path)  # load everything before memory is measured
            before, deadline, count = fuzz.status("VmHWM"), time.monotonic() + seconds, fuzz.Count()

            def read_one(data: bytes) -> None:
                if time.monotonic() > deadline:
                    count.megabytes = fuzz.status("VmHWM") - before
                    tally.write_text(fuzz.written(count))
                    os._exit(0)
                if len(data) > 1:
                    path = target.files[data[0] % len(target.files)]
                    current.write_bytes(data[2:])
                    (folder / path).write_bytes(data[2:])
                    try:
                        count.note(fuzz.outcome(target.reads[data[1] % len(target.reads)], folder / path), data[2:])
                    finally:
                        (folder / path).write_bytes(good[path])

            limit = int(before + fuzz.MEGABYTES)
            options = {
                "seed": seed,
                "timeout": fuzz.SECONDS,
                "rss_limit_mb": limit,
                "malloc_limit_mb": limit,
                "max_len": 2 * max(map(len, good.values())),
                "len_control": 0,  # start at the length of the valid files
                "dict": words,
                "artifact_prefix": f"{folder}/",
            }
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            atheris.Setup([sys.argv[0], str(corpus), *(f"-{key}={value}" for key, value in options.items())], read_one)
            atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()

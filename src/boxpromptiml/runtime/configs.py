"""Lookup of the configurations that come with the package.

``configs/demo.yaml`` means the file of that name in the current folder or, if there is none, the one that comes with
the package. The same applies to configurations that refer to others, such as studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from boxpromptiml.core.atomic_files import write_whole
from boxpromptiml.core.records import InputError

FOLDER = "configs"
"""First component of a packaged configuration's name."""


def packaged_folder() -> Path:
    """Return the folder of the packaged configurations: in the installed package, or in the checkout it runs from."""
    packaged = Path(__file__).parents[1] / "packaged_configs"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / FOLDER


def found(path: Path) -> Path:
    """Return the path itself if it exists, else the packaged configuration of that name, else the path unchanged."""
    if path.is_absolute() or path.parts[:1] != (FOLDER,) or path.exists():
        return path
    packaged = packaged_folder().joinpath(*path.parts[1:])
    return packaged if packaged.is_file() else path


def with_packaged_paths(words: Sequence[str]) -> list[str]:
    """Replace the file after each ``--config`` (separate or joined by ``=``) by the one that `found` returns."""
    resolved: list[str] = []
    for word in words:
        if resolved and resolved[-1] == "--config":
            word = str(found(Path(word)))
        elif word.startswith("--config="):
            word = f"--config={found(Path(word.removeprefix('--config=')))}"
        resolved.append(word)
    return resolved


def with_base_configs(words: Sequence[str]) -> list[str]:
    """Insert, before each ``--config FILE``, the configuration that FILE names as its base.

    A base may itself have a base. A file that is not a YAML mapping is left to the parser, which reports the error.

    Raises:
        InputError: a base does not exist, or a file is its own base.
    """
    resolved: list[str] = []
    for word in words:
        if resolved and resolved[-1] == "--config":
            resolved.pop()
            resolved += [part for file in chain(Path(word)) for part in ("--config", str(file))]
        elif word.startswith("--config="):
            resolved += [f"--config={file}" for file in chain(Path(word.removeprefix("--config=")))]
        else:
            resolved.append(word)
    return resolved


def chain(file: Path) -> list[Path]:
    """Return a configuration preceded by its base, the base of that, and so on, the outermost first."""
    chain = [file]
    while (named := _base(chain[0])) is not None:
        base = found(named)
        if not base.is_file():
            raise InputError(
                f"{chain[0]}: its base {named} does not exist; `boxpromptiml configs` lists the packaged ones"
            )
        if base in chain:
            raise InputError(f"{file}: {base} is its own base; choose another")
        chain.insert(0, base)
    return chain


def _base(file: Path) -> Path | None:
    try:
        content = msgspec.yaml.decode(file.read_bytes())
    except (OSError, UnicodeError, msgspec.DecodeError):
        return None
    named = content.get("base") if isinstance(content, dict) else None
    return Path(named) if isinstance(named, str) else None


def configs(names: list[str] | None = None, out: Path | None = None) -> int:
    """List the configurations that come with the package, or copy them for editing.

    Every command accepts them by the listed names, in any folder: `boxpromptiml fit --config configs/demo.yaml`. A copy
    in the current folder takes precedence over the packaged file.

    Args:
        names: configurations to list or copy, such as [configs/demo.yaml], or folders of them, such as
            [configs/studies]; by default all.
        out: destination of the copies, which go into its subfolder configs. Existing files are kept.

    Raises:
        InputError: a name does not exist.
    """
    folder = packaged_folder()
    chosen = {path.relative_to(folder): path for path in sorted(folder.rglob("*.yaml"))}
    if names is not None:
        wanted = [Path(name).relative_to(FOLDER) if Path(name).parts[:1] == (FOLDER,) else Path(name) for name in names]
        if unknown := [name for name in wanted if not any(_is_or_holds(name, path) for path in chosen)]:
            raise InputError(f"there is no configuration {unknown[0]}; `boxpromptiml configs` lists them")
        chosen = {name: path for name, path in chosen.items() if any(_is_or_holds(other, name) for other in wanted)}
    for name, path in chosen.items():
        if out is None:
            print(f"{Path(FOLDER) / name!s:<34} {_purpose(path)}")
            continue
        copy = out / FOLDER / name
        if copy.exists():
            print(f"{copy}: already exists, not changed")
            continue
        write_whole(copy, path.read_bytes())
        print(copy)
    return 0


def _is_or_holds(name: Path, other: Path) -> bool:
    return other == name or name in other.parents


def _purpose(path: Path) -> str:
    """Return the first sentence of a configuration's header."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or not text:
            break
        lines.append(text)
    return " ".join(lines).split(". ")[0].rstrip(".")

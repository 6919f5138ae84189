"""Additions to the site from outside this folder: files from elsewhere in the project, and generated lists.

MkDocs calls the functions named ``on_…``. Links are written as they work in the project's own folders; here they are
turned to the site's pages.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
from contextlib import redirect_stdout, suppress
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from boxpromptiml import cli

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = {f"benchmarks/{path.name}": path for path in sorted((ROOT / "benchmarks/results").iterdir())}
"""Pages and pictures of the site → files of the project outside docs/."""
COPIED = BENCHMARKS | {
    "model_card.md": ROOT / "MODEL_CARD.md",
    "data.md": ROOT / "data/README.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "changelog.md": ROOT / "CHANGELOG.md",
}
HOME = {ROOT / "README.md": "index.md"}
"""Where a link to a file leads whose content is not shown as it is."""
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s#]+)(#[^()\s]*)?\)")
LONG = 120
"""Lines of help above which it is folded."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List experiments and benchmarks under Results, titled by their first heading."""
    assert config.nav is not None
    results = next(section["Results"] for section in config.nav if "Results" in section)
    experiments = [f"results/{path.name}" for path in _experiments()]
    results += [{"Experiments": experiments}, {"Benchmarks": [page for page in BENCHMARKS if page.endswith(".md")]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add copied and generated pages."""
    for page, path in COPIED.items():
        files.append(File.generated(config, page, abs_src_path=str(path)))
    generated = {
        "results/index.md": _results(),
        "reference/commands.md": _commands(),
        "reference/configurations.md": _configurations(),
    }
    for page, text in generated.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the project into links to the pages that show them; others become plain text."""
    uri = page.file.src_uri
    origin = COPIED.get(uri, ROOT / "docs" / uri)

    def turned(link: re.Match[str]) -> str:
        picture, text, target, anchor = link.groups()
        if re.match(r"[a-z]+:", target):
            return link.group()
        path = Path(os.path.normpath(origin.parent / target))
        shown = _page_of(path)
        if shown is not None:
            return f"{picture}[{text}]({posixpath.relpath(shown, posixpath.dirname(uri) or '.')}{anchor or ''})"
        return text if path.exists() else link.group()  # MkDocs says what is wrong with the others

    return LINK.sub(turned, markdown)


def _page_of(path: Path) -> str | None:
    """The page or picture of the site that shows a file."""
    for page, copied in COPIED.items():
        if copied == path:
            return page
    if path in HOME:
        return HOME[path]
    inside = path.is_relative_to(ROOT / "docs") and path.is_file()
    return path.relative_to(ROOT / "docs").as_posix() if inside else None


def _experiments() -> list[Path]:
    return sorted((ROOT / "docs/results").glob("*.md"))


def _heading(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def _results() -> str:
    lines = ["# Results", "", "Numbers come from the commands beside them; those of ad-hoc scripts are marked.", ""]
    lines += ["What the demo's student scores, and how to reproduce it, is in the [model card](../model_card.md).", ""]
    lines += ["## Experiments", ""]
    for path in _experiments():
        said = re.findall(
            r"^\*\*(?:Question|Answer)\.\*\* +([^\n*].+?)\n\n", path.read_text(encoding="utf-8"), re.M | re.S
        )
        lines += [f"[{_heading(path)}]({path.name})", f":   {' '.join(' '.join(said).split())}", ""]
    lines += ["## Benchmarks", "", "Ours beside the obvious way, in one run; `make bench` repeats them.", ""]
    lines += [f"- [{_heading(path)}](../{page})" for page, path in BENCHMARKS.items() if page.endswith(".md")]
    return "\n".join(lines)


def _configurations() -> str:
    lines = ["# Configurations", "", "What each file in `configs/` is for: its own header.", ""]
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        header = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
        text = re.sub(r"^# ?", "", header[0] if header else "", flags=re.M)
        lines += [f"## {path.relative_to(ROOT)}", "", "```text", text.rstrip(), "```", ""]
    return "\n".join(lines)


def _commands() -> str:
    lines = ["# Commands", "", "```text", _printed("--help"), "```", ""]
    for command, text in re.findall(r"^  (\w+) +(.+)$", _printed("--help"), re.M):  # in the order of a project
        lines += [f"## {command}", "", f"{text[0].upper()}{text[1:]}.", ""]
        names = re.search(r"^  \w+ +.*\{([\w,]+)\} \.\.\.", "  " + _printed(command, "--help"), re.M)
        for words in [[command], *([command, word] for word in (names[1].split(",") if names else []))]:
            lines += [*_folded(f"{' '.join(words)} --help", _printed(*words, "--help")), ""]
        if command in cli.TRAINER:
            lines += [*_folded(f"{command} --help_all", _printed(command, "--help_all")), ""]
    return "\n".join(lines)


def _folded(command: str, text: str) -> list[str]:
    block = ["```text", *text.splitlines(), "```"]
    if len(block) <= LONG:
        return block
    return [f'??? note "boxpromptiml {command}"', "", *(f"    {line}" for line in block)]


def _printed(*words: str) -> str:
    """What a command prints, at a width that fits the page."""
    os.environ["COLUMNS"] = "96"
    stream = io.StringIO()
    with redirect_stdout(stream), suppress(SystemExit):
        cli.main(words)
    return stream.getvalue().rstrip()

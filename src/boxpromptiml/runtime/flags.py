"""Parser with boolean flags and short errors: ``--overwrite`` is short for ``--overwrite true``.

An option of a class that is chosen by name, such as ``--teacher.multimask_output true``, still needs its value, because
jsonargparse looks up its type only after argparse has read the value.
"""

from __future__ import annotations

import re
from argparse import Action
from collections.abc import Iterable
from copy import copy
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter


class FlagHelp(DefaultHelpFormatter):
    """Shows a flag as ``[--overwrite]``, and one that is on by default as ``[--outputs.masks {true,false}]``."""

    def add_usage(self, usage: str | None, actions: Iterable[Action], *args: Any, **kwargs: Any) -> None:
        """Show flags in the usage line."""
        super().add_usage(usage, [_shown(action) for action in actions], *args, **kwargs)

    def add_argument(self, action: Action) -> None:
        """Show an option with its help text."""
        super().add_argument(_shown(action))


class FlagParser(ArgumentParser):
    """Accepts a boolean with or without a value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Use `FlagHelp` for the help."""
        super().__init__(*args, **{"formatter_class": FlagHelp, **kwargs})

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """Make the value of a boolean optional; jsonargparse uses this method for groups of arguments too."""
        if kwargs.get("type") is bool:
            kwargs.update(nargs="?", const=True)
        return super().add_argument(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what is wrong and exit, without the usage, which has ninety lines for ``fit``."""
        if not self.exit_on_error:  # the parser of a class, whose error jsonargparse handles
            super().error(message, ex)
        program = getattr(ex, "subcommand_parser", self).prog.replace(" [options]", "")
        self.exit(2, f"{program}: {_plain(message)}; see `{program} --help`\n")


def _shown(action: Action) -> Action:
    """Return a copy of a boolean option as the help shows it; return other options unchanged."""
    if action.const is not True or action.nargs != "?":
        return action
    shown = copy(action)
    shown.nargs = None if action.default else 0
    return shown


def _plain(message: str) -> str:
    """Drop Python's names of types, and join short messages to one line."""
    message = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", message)
    message = re.sub(r'^Parser key "([^"]+)":', r"--\1:", message)
    return " ".join(message.split()) if message.count("\n") < 2 else message

"""An argument parser whose ``--help`` states the valid range of each number.

jsonargparse ignores the metadata of annotated types. This module adds the ranges from `boxpromptiml.core.limits` to the
help of functions, classes, their dataclasses, and of ``--teacher.help CLASS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar, cast, get_args, get_type_hints

from jsonargparse import ArgumentParser

from boxpromptiml.core.limits import ranges
from boxpromptiml.runtime.flags import FlagParser

P = ParamSpec("P")
R = TypeVar("R")


def with_ranges_in_help(add: Callable[P, R]) -> Callable[P, R]:
    """Wrap a parser method that adds arguments of a function or class, so that it appends the ranges to their help."""

    @wraps(add)
    def added(*args: P.args, **kwargs: P.kwargs) -> R:
        found = add(*args, **kwargs)
        given = signature(add).bind(*args, **kwargs).arguments
        parser, owner = list(given.values())[:2]
        _append_ranges(cast(ArgumentParser, parser), owner, cast("str | None", given.get("nested_key")))
        return found

    return added


class LimitsInHelp:
    """Mixin for parser classes, to be listed before `ArgumentParser`."""

    add_class_arguments = with_ranges_in_help(ArgumentParser.add_class_arguments)
    add_function_arguments = with_ranges_in_help(ArgumentParser.add_function_arguments)


class CommandParser(LimitsInHelp, FlagParser):
    """Parser of the commands that are plain functions."""


def _append_ranges(parser: ArgumentParser, owner: Any, nested_key: str | None) -> None:
    start = f"{nested_key}." if nested_key else ""
    for action in parser._actions:
        words = _limits_of(owner, action.dest[len(start) :].split(".")) if action.dest.startswith(start) else ""
        said = action.help or ""
        if words and not said.endswith(f"({words})"):  # the dataclass holding the field may have added it already
            action.help = f"{said} ({words})".lstrip()


def _limits_of(owner: Any, path: Sequence[str]) -> str:
    """Return the range of an argument, or of a field of a dataclass argument, as text."""
    hint = _hints(owner).get(path[0])
    if len(path) == 1:
        return "; ".join(ranges(hint))
    return next((words for part in _dataclasses(hint) if (words := _limits_of(part, path[1:]))), "")


def _hints(owner: Any) -> dict[str, Any]:
    """Return the argument types of a function or class, including arguments that a class passes to its bases."""
    if not isinstance(owner, type) or is_dataclass(owner):
        return _resolved([owner])
    return _resolved(vars(base)["__init__"] for base in reversed(owner.__mro__) if "__init__" in vars(base))


def _resolved(owners: Iterable[Any]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for owner in owners:
        try:
            hints |= get_type_hints(owner, include_extras=True)
        except (NameError, TypeError):  # libraries may import types for type checkers only; ours do not
            continue
    return hints


def _dataclasses(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for part in get_args(hint):
        yield from _dataclasses(part)

"""A parser of arguments whose ``--help`` says, beside each number, which numbers are accepted.

jsonargparse drops what an annotated type holds beside the type. `boxpromptiml.core.limits` refuses values by it, and
here its words are added to the help of functions, of classes, of their dataclasses, and of ``--teacher.help CLASS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar, cast, get_args, get_type_hints

from jsonargparse import ArgumentParser

from boxpromptiml.core.limits import ranges

P = ParamSpec("P")
R = TypeVar("R")


def saying_limits(add: Callable[P, R]) -> Callable[P, R]:
    """A method by which a parser adds the arguments of a function or a class, and then their limits to their help."""

    @wraps(add)
    def added(*args: P.args, **kwargs: P.kwargs) -> R:
        found = add(*args, **kwargs)
        given = signature(add).bind(*args, **kwargs).arguments
        parser, owner = list(given.values())[:2]
        _say_limits(cast(ArgumentParser, parser), owner, cast("str | None", given.get("nested_key")))
        return found

    return added


class LimitsInHelp:
    """For a parser class to derive from first."""

    add_class_arguments = saying_limits(ArgumentParser.add_class_arguments)
    add_function_arguments = saying_limits(ArgumentParser.add_function_arguments)


class CommandParser(LimitsInHelp, ArgumentParser):
    """Of the commands that are functions."""


def _say_limits(parser: ArgumentParser, owner: Any, nested_key: str | None) -> None:
    start = f"{nested_key}." if nested_key else ""
    for action in parser._actions:
        words = _limits_of(owner, action.dest[len(start) :].split(".")) if action.dest.startswith(start) else ""
        said = action.help or ""
        if words and not said.endswith(f"({words})"):  # as by the dataclass that holds the field
            action.help = f"{said} ({words})".lstrip()


def _limits_of(owner: Any, path: Sequence[str]) -> str:
    """What the limits of an argument, or of a field of an argument that is a dataclass, are in words."""
    hint = _hints(owner).get(path[0])
    if len(path) == 1:
        return "; ".join(ranges(hint))
    return next((words for part in _dataclasses(hint) if (words := _limits_of(part, path[1:]))), "")


def _hints(owner: Any) -> dict[str, Any]:
    """Types of the arguments of a function, or of a class with those that it hands on to its bases."""
    if not isinstance(owner, type) or is_dataclass(owner):
        return _resolved([owner])
    return _resolved(vars(base)["__init__"] for base in reversed(owner.__mro__) if "__init__" in vars(base))


def _resolved(owners: Iterable[Any]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for owner in owners:
        try:
            hints |= get_type_hints(owner, include_extras=True)
        except (NameError, TypeError):  # of a library, that imports names for type checkers alone; none of ours
            continue
    return hints


def _dataclasses(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for part in get_args(hint):
        yield from _dataclasses(part)

"""Valid ranges of numeric parameters (counts, sizes, fractions, thresholds), each defined once as an annotated type.

A parameter is annotated with one of the types below, and `within_limits` rejects values outside the range, whether they
come from the command line, a config or Python. FastAPI uses the same types for query parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache, wraps
from inspect import signature
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from boxpromptiml.core.records import InputError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, repr=False)
class Limit:
    """A range of numbers, used as metadata of an `Annotated` type.

    Attributes:
        words: description of a valid number, for messages and help.
        least: lower bound.
        most: upper bound.
        above: whether the lower bound is exclusive.
        below: whether the upper bound is exclusive.
        whole: whether only integers are valid.
        odd: whether only odd numbers are valid.
        share: whether it is a fraction, for which the error suggests a conversion when it looks like a percentage.
    """

    words: str
    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False
    odd: bool = False
    share: bool = False

    def __repr__(self) -> str:
        return self.words

    def holds(self, value: object) -> bool:
        """Return whether a value is a number within the range."""
        if not isinstance(value, Real) or (self.whole and not isinstance(value, Integral)):
            return False
        number = float(cast(float, value))
        if self.odd and number % 2 != 1:
            return False
        return (number > self.least if self.above else number >= self.least) and (
            number < self.most if self.below else number <= self.most
        )

    def require(self, name: str, value: object) -> None:
        """Reject a value outside the range.

        Raises:
            InputError: names the value, the valid range and, for a percentage, the fraction to use instead.
        """
        if not self.holds(value):
            raise InputError(f"{name} is {self._refused(value)}")

    def _refused(self, value: object) -> str:
        told = f"{value:g}" if isinstance(value, float) else f"{value!r}"
        if self.share and isinstance(value, int | float) and 1 < value <= 100:
            return f"{told}; use {self.words}, such as {value / 100:g} for {told} %"
        return f"{told}; use {self.words}"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Validate query parameters in FastAPI."""
        from pydantic_core import core_schema

        def checked(value: Any) -> Any:
            if not self.holds(value):
                raise ValueError(f"is {self._refused(value)}")
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        """Describe the range in FastAPI's /openapi.json."""
        bounds = {
            "exclusiveMinimum" if self.above else "minimum": self.least,
            "exclusiveMaximum" if self.below else "maximum": self.most,
        }
        return {**handler(schema), **{name: bound for name, bound in bounds.items() if math.isfinite(bound)}}


Count = Annotated[int, Limit("a whole number from 1", least=1, whole=True)]
Whole = Annotated[int, Limit("a whole number from 0", least=0, whole=True)]
Workers = Annotated[int, Limit("a whole number from 0; 0 means no extra workers", least=0, whole=True)]
Seed = Annotated[int, Limit("a whole number from 0 to 4294967295", least=0, most=2**32 - 1, whole=True)]
Side = Annotated[int, Limit("a number of pixels from 8 to 8192", least=8, most=8192, whole=True)]
HashDistance = Annotated[
    int, Limit("a number of bits from 0 to 24; unrelated photos differ in about 32 of 64", 0, 24, whole=True)
]
ForgerySide = Annotated[int, Limit("a number of pixels from 32 to 8192", least=32, most=8192, whole=True)]
"""Regions of a forgery smaller than 32 pixels a side would be invisible."""
Port = Annotated[int, Limit("a port from 0 to 65535; 0 means any free port", least=0, most=65535, whole=True)]
Quality = Annotated[int, Limit("a quality from 1 to 100", least=1, most=100, whole=True)]
UsualQuality = Annotated[float, Limit("a quality from 1 to 95", least=1, most=95)]
"""JPEG quality of cameras and web sites; above 95 compression leaves hardly any traces."""
BlurSide = Annotated[int, Limit("an odd number of pixels from 1 to 255", least=1, most=255, whole=True, odd=True)]
NoiseVariance = Annotated[float, Limit("a number from 0 to 65025, which is 255²", least=0, most=255**2)]
ResizeFactor = Annotated[float, Limit("a factor from 0.01 to 4", least=0.01, most=4)]
Gamma = Annotated[float, Limit("an exponent from 0.1 to 10", least=0.1, most=10)]
TimesShared = Annotated[int, Limit("a whole number from 0 to 10", least=0, most=10, whole=True)]
GreyLevels = Annotated[float, Limit("a number of grey levels from 0 to 255", least=0, most=255)]
Positive = Annotated[float, Limit("a number above 0", least=0, most=math.inf, above=True, below=True)]
NotNegative = Annotated[float, Limit("a number from 0", least=0, most=math.inf, below=True)]
Share = Annotated[float, Limit("a share from 0 to 1", least=0, most=1, share=True)]
ShareInside = Annotated[
    float, Limit("a share above 0 and below 1", least=0, most=1, above=True, below=True, share=True)
]
ShareAboveZero = Annotated[float, Limit("a share above 0, up to 1", least=0, most=1, above=True, share=True)]
ShareBelowOne = Annotated[float, Limit("a share from 0 to below 1", least=0, most=1, below=True, share=True)]
ShareBelowHalf = Annotated[float, Limit("a share from 0 to below 0.5", least=0, most=0.5, below=True, share=True)]
Probability = Annotated[float, Limit("a probability from 0 to 1", least=0, most=1, share=True)]
Threshold = Annotated[float, Limit("a probability from 0 to below 1", least=0, most=1, below=True, share=True)]
"""Pixels strictly above the threshold count, so no pixel could exceed a threshold of 1."""
Devices = Count | Literal["auto"]
"""Number of processes, each with its own device; auto starts one per GPU."""


def within_limits(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function or an ``__init__`` so that it rejects arguments outside the ranges of their types.

    The fields of arguments that are dataclasses are checked too; errors give their full name, such as
    ``recipe.host.blur``.

    Raises:
        InputError: names the first argument that is out of range.
    """
    parameters = signature(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        check_values(parameters.bind(*args, **kwargs).arguments, _hints(function))
        return function(*args, **kwargs)

    return checked


def check_fields(settings: Any, prefix: str = "") -> None:
    """Check the fields of a dataclass against the ranges of their types; to be called in its ``__post_init__``.

    Args:
        settings: the dataclass.
        prefix: prepended to field names in messages, such as ``scoring.``.

    Raises:
        InputError: names the first field that is out of range.
    """
    hints = _hints(cast(Any, type(settings)))
    check_values({name: getattr(settings, name) for name in hints if hasattr(settings, name)}, hints, prefix)


def check_values(values: Mapping[str, object], hints: Mapping[str, Any], prefix: str = "") -> None:
    """Check values against the ranges of their types.

    Raises:
        InputError: names the first value that is out of range.
    """
    for name, value in values.items():
        for part, limit, number in _limited(f"{prefix}{name}", hints.get(name), value):
            limit.require(part, number)


def ranges(hint: Any) -> list[str]:
    """Return the descriptions of all ranges within a type, without repetition; an empty list if it has none."""
    if isinstance(hint, Limit):
        return [hint.words]
    return list(dict.fromkeys(words for part in get_args(hint) for words in ranges(part)))


@cache
def _hints(of: Any) -> dict[str, Any]:
    return get_type_hints(of, include_extras=True)


def _limited(name: str, hint: Any, value: object) -> Iterator[tuple[str, Limit, object]]:
    """Yield each range within a type with its name and the value it applies to. None is valid for ``Count | None``."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        yield from ((name, limit, value) for limit in hint.__metadata__ if isinstance(limit, Limit))
    elif origin in (Union, UnionType):
        for part in parts:
            kind = Real if get_origin(part) is Annotated else get_origin(part)
            if isinstance(kind, type) and isinstance(value, kind):
                yield from _limited(name, part, value)
    elif isinstance(hint, type) and is_dataclass(hint) and isinstance(value, hint):
        for field, of_field in _hints(hint).items():
            yield from _limited(f"{name}.{field}", of_field, getattr(value, field, None))
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _limited(f"{name}.{key}", parts[-1] if parts else None, each)
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            fixed = origin is tuple and Ellipsis not in parts and place < len(parts)
            yield from _limited(name, parts[place] if fixed else parts[0] if parts else None, each)

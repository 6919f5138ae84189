"""What numbers may be: counts, sizes, shares, thresholds. Each limit is held here, once, as a type.

A parameter is annotated with one of the types below. `within_limits` then refuses what lies outside, wherever it comes
from: the command line, a config, Python. FastAPI takes the same types for queries.
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
    """A range of numbers, as the metadata of an annotated type.

    Attributes:
        words: what a number in the range is, for people.
        least: smallest value.
        most: largest value.
        above: whether ``least`` itself is outside.
        below: whether ``most`` itself is outside.
        whole: whether only whole numbers are inside.
        odd: whether only odd ones are.
        share: whether it is a share of something, which people also give in per cent.
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
        """Whether a value is a number in the range."""
        if not isinstance(value, Real) or (self.whole and not isinstance(value, Integral)):
            return False
        number = float(cast(float, value))
        if self.odd and number % 2 != 1:
            return False
        return (number > self.least if self.above else number >= self.least) and (
            number < self.most if self.below else number <= self.most
        )

    def require(self, name: str, value: object) -> None:
        """Refuse a value outside the range.

        Raises:
            InputError: it names the value, the range and the remedy.
        """
        if not self.holds(value):
            raise InputError(f"{name} is {self._refused(value)}")

    def _refused(self, value: object) -> str:
        told = f"{value:g}" if isinstance(value, float) else f"{value!r}"
        if self.share and isinstance(value, int | float) and 1 < value <= 100:
            return f"{told}; name {self.words}, such as {value / 100:g} for {told} %"
        return f"{told}; name {self.words}"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """How FastAPI checks a value of the type in a query."""
        from pydantic_core import core_schema

        def checked(value: Any) -> Any:
            if not self.holds(value):
                raise ValueError(f"is {self._refused(value)}")
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        """How /openapi.json describes the type."""
        bounds = {
            "exclusiveMinimum" if self.above else "minimum": self.least,
            "exclusiveMaximum" if self.below else "maximum": self.most,
        }
        return {**handler(schema), **{name: bound for name, bound in bounds.items() if math.isfinite(bound)}}


Count = Annotated[int, Limit("a whole number from 1", least=1, whole=True)]
Whole = Annotated[int, Limit("a whole number from 0", least=0, whole=True)]
Workers = Annotated[int, Limit("a whole number from 0, which works in the process itself", least=0, whole=True)]
Seed = Annotated[int, Limit("a whole number from 0 to 4294967295", least=0, most=2**32 - 1, whole=True)]
Side = Annotated[int, Limit("a number of pixels from 8 to 8192", least=8, most=8192, whole=True)]
HashDistance = Annotated[
    int, Limit("a number of bits from 0 to 24, for photos differ in about 32 of 64", 0, 24, whole=True)
]
ForgerySide = Annotated[int, Limit("a number of pixels from 32 to 8192", least=32, most=8192, whole=True)]
"""Below 32 pixels no region of a forgery can be seen."""
Port = Annotated[int, Limit("a port from 0, for any that is free, to 65535", least=0, most=65535, whole=True)]
Quality = Annotated[int, Limit("a quality from 1 to 100", least=1, most=100, whole=True)]
UsualQuality = Annotated[float, Limit("a quality from 1 to 95", least=1, most=95)]
"""Of the JPEG files that cameras and web sites write; more than 95 leaves hardly a trace."""
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
"""What lies strictly above it counts, so that nothing could lie above 1."""
Devices = Count | Literal["auto"]
"""How many processes, each with a device of its own; auto for one on each GPU."""


def within_limits(function: Callable[P, R]) -> Callable[P, R]:
    """A function, or the ``__init__`` of a class, that refuses arguments outside the limits of their types.

    Dataclasses among them are looked into, and their fields are named after the argument: ``recipe.host.blur``.

    Raises:
        InputError: naming the first argument that is outside.
    """
    parameters = signature(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        hold(parameters.bind(*args, **kwargs).arguments, _hints(function))
        return function(*args, **kwargs)

    return checked


def hold_fields(settings: Any, prefix: str = "") -> None:
    """Refuse a dataclass, in its ``__post_init__``, with a field outside the limits of its type.

    Args:
        settings: the dataclass.
        prefix: of the fields' names in the message, such as ``scoring.``.

    Raises:
        InputError: naming the first field that is outside.
    """
    hints = _hints(cast(Any, type(settings)))
    hold({name: getattr(settings, name) for name in hints if hasattr(settings, name)}, hints, prefix)


def hold(values: Mapping[str, object], hints: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse values outside the limits of their types.

    Raises:
        InputError: naming the first that is outside.
    """
    for name, value in values.items():
        for part, limit, number in _limited(f"{prefix}{name}", hints.get(name), value):
            limit.require(part, number)


def ranges(hint: Any) -> list[str]:
    """What a type's limits say in words, each once; empty where it has none."""
    if isinstance(hint, Limit):
        return [hint.words]
    return list(dict.fromkeys(words for part in get_args(hint) for words in ranges(part)))


@cache
def _hints(of: Any) -> dict[str, Any]:
    return get_type_hints(of, include_extras=True)


def _limited(name: str, hint: Any, value: object) -> Iterator[tuple[str, Limit, object]]:
    """Every limit in a type, with what it limits in a value of that type. ``Count | None`` leaves None alone."""
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

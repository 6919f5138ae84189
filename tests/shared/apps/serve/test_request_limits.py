"""Valid and invalid request limits."""

import pytest

from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.core.records import InputError


@pytest.mark.parametrize("wrong", [{"requests": 0}, {"seconds": -1}, {"megapixels": float("nan")}])
def test_limits_are_above_zero(wrong):
    with pytest.raises(
        InputError, match=rf"^limits.{next(iter(wrong))} is .*; use a (number above 0|whole number from 1)$"
    ):
        RequestLimits(**wrong)

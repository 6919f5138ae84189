import inspect
from dataclasses import fields, replace

import numpy as np
import pytest

from boxpromptiml.core.records import InputError
from boxpromptiml.synthesis.recipe import Recipe, Traces, check, log_uniform


def test_the_default_recipe_is_valid():
    check(Recipe())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"area": (0.5, 0.4)}, "recipe.area is 0.5 to 0.4"),
        ({"area": (0.1, 1.0)}, r"recipe\.area is 1; use a share above 0 and below 1"),
        ({"area": (0.0, 0.4)}, r"recipe\.area is 0; use a share above 0"),
        ({"poisson": 1.5}, r"recipe\.poisson is 1\.5; use a probability from 0 to 1"),
        ({"flip": 50}, r"recipe\.flip is 50; .* 0\.5 for 50 %"),
        ({"rotation": -5.0}, r"recipe\.rotation is -5; use a number from 0"),
        ({"visible": 300.0}, r"recipe\.visible is 300; use a number of grey levels from 0 to 255"),
        ({"feather": 0.7, "poisson": 0.6}, "add up to 1.3"),
        ({"host": Traces(noise=-1)}, "recipe.host.noise is -1"),
        ({"donor": Traces(jpeg_quality=(90, 100))}, r"recipe\.donor\.jpeg_quality is 100; use a quality from 1 to 95"),
        ({"finish": Traces(blur_sigma=(0, 1))}, r"recipe\.finish\.blur_sigma is 0; use a number above 0"),
    ],
)
def test_an_invalid_recipe_is_refused_naming_the_field(wrong, words):
    with pytest.raises(InputError, match=words):
        check(replace(Recipe(), **wrong))


@pytest.mark.parametrize("kind", [Recipe, Traces])
def test_every_field_is_documented(kind):
    documentation = inspect.getdoc(kind)  # indented alike by every Python; 3.13 and newer dedent __doc__
    for field in fields(kind):
        assert f"\n    {field.name}: " in documentation, field.name


def test_draws_are_log_uniform():
    rng = np.random.default_rng(0)
    drawn = np.array([log_uniform(rng, (0.01, 1)) for _ in range(4000)])
    assert drawn.min() >= 0.01
    assert drawn.max() <= 1
    assert np.mean(drawn < 0.1) == pytest.approx(0.5, abs=0.03)

"""The garbage collector pauses during imports only."""

import gc

import pytest

from boxpromptiml.runtime.imports import quick_imports


def test_the_collector_pauses_and_runs_again():
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_runs_again_after_a_failed_import():
    with pytest.raises(ModuleNotFoundError), quick_imports():
        import no_such_package  # noqa: F401
    assert gc.isenabled()


def test_a_collector_that_the_caller_has_disabled_stays_disabled():
    gc.disable()
    try:
        with quick_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()

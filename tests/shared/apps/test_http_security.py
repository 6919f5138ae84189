"""Who may ask the page and the service: the rest is in the tests of their gates."""

import pytest

from boxpromptiml.apps.http_security import LOOPBACK, too_long, wrong_asker


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
def test_names_of_this_machine_are_answered(host):
    assert wrong_asker({"host": host}, LOOPBACK) is None
    assert wrong_asker({"host": host, "origin": f"http://{host}"}, LOOPBACK) is None
    assert wrong_asker({"host": host, "origin": "http://evil.example"}, None) is not None


def test_a_length_is_a_number_of_bytes():
    assert too_long({"content-length": "11"}, 10)
    assert too_long({"content-length": "9" * 5000}, 10)
    assert not any(too_long({"content-length": said}, 10) for said in ("10", "", "-11", "1e9", "²²"))
    assert not too_long({}, 10)

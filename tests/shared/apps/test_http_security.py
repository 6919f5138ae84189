"""Which requests the web app and the service accept; the tests of their middleware cover the rest."""

import pytest

from boxpromptiml.apps.http_security import HEADERS, LOOPBACK, headers_framed_by, rejection, too_long
from boxpromptiml.core.records import InputError


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000"])
def test_names_of_this_machine_are_accepted(host):
    assert rejection({"host": host}, LOOPBACK) is None
    assert rejection({"host": host, "origin": f"http://{host}"}, LOOPBACK) is None
    assert rejection({"host": host, "origin": "http://evil.example"}, None) is not None


def test_a_content_length_is_a_number_of_bytes():
    assert too_long({"content-length": "11"}, 10)
    assert too_long({"content-length": "9" * 5000}, 10)
    assert not any(too_long({"content-length": output}, 10) for output in ("10", "", "-11", "1e9", "²²"))
    assert not too_long({}, 10)


def test_only_listed_sites_may_show_it_in_a_frame():
    assert "frame-ancestors 'none'" in headers_framed_by([])["content-security-policy"]
    framed = headers_framed_by(["https://huggingface.co", "http://127.0.0.1:80"])
    assert "frame-ancestors https://huggingface.co http://127.0.0.1:80;" in framed["content-security-policy"]
    assert framed.keys() == HEADERS.keys()


@pytest.mark.parametrize(
    "address", ["huggingface.co", "https://a.example; script-src *", "https://a.example/b", "*", ""]
)
def test_an_invalid_site_may_not_show_it_in_a_frame(address):
    with pytest.raises(InputError, match="not the address of a site"):
        headers_framed_by([address])

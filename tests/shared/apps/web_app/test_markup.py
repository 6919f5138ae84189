import numpy as np

from boxpromptiml.apps.web_app import markup

HOSTILE = "<script>alert(1)</script>&\"'"


def test_no_text_becomes_markup():
    photo = np.zeros((4, 4, 3), np.uint8)
    pieces = [
        markup.figure(photo, HOSTILE),
        markup.notice(f"{HOSTILE}\n$ {HOSTILE}", "error"),
        markup.headline([(HOSTILE, HOSTILE)]),
        markup.table((HOSTILE,), [(HOSTILE,)]),
        markup.keys([(HOSTILE, HOSTILE)]),
        markup.download(b"", HOSTILE, HOSTILE),
        markup.compare("data:,", "data:,", HOSTILE),
    ]
    for piece in pieces:
        assert "<script" not in piece
        assert '"' + HOSTILE not in piece
        assert "&lt;script&gt;" in piece


def test_errors_are_announced_and_commands_set_apart():
    assert 'role="alert"' in markup.notice("no", "error")
    assert "<code>boxpromptiml app</code>" in markup.notice("Start it:\n$ boxpromptiml app")

import numpy as np

from boxpromptiml.datasets.layouts import korus


def test_all_cameras_are_read_with_upper_case_suffixes_and_grey_counts_as_tampered(tree, prepared, groups):
    for camera in ("Canon_60D", "Sony_A57"):
        tree.photos(f"data-images/{camera}/pristine/P1.TIF", f"data-images/{camera}/tampered-realistic/P1.TIF")
        levels = np.zeros((16, 24, 3), np.uint8)
        levels[4:10, 6:14] = 127  # the grey level of pixels altered along with the content
        levels[5:8, 8:12] = 255
        tree._write(f"data-images/{camera}/ground-truth/P1.PNG", levels)
    tree.photos("data-images/Sony_A57/tampered-realistic/P2.TIF")
    outcome = prepared("korus")
    assert len(outcome.forged) == len(outcome.authentic) == 2
    assert all("pristine" in name for name in outcome.authentic)
    (aside,) = outcome.lines("skipped")
    assert "Sony_A57/tampered-realistic/P2.TIF: no mask" in aside
    assert groups(korus.find(tree.root)) == {"P1.TIF": "Sony_A57/P1"}, "each camera numbers its own photos"

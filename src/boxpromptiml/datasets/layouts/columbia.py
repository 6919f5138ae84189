"""Columbia Uncompressed Image Splicing Detection: 180 splices between four cameras and 183 authentic photos, in TIFF.

    4cam_auth/canong3_02_sub_01.tif
    4cam_splc/canong3_canonxt_sub_01.tif
    4cam_splc/edgemask/canong3_canonxt_sub_01_edgemask.jpg

Source: https://www.ee.columbia.edu/ln/dvmm/downloads/authsplcuncmp/. Hsu and Chang, ICME 2006.
Terms: for research, after a request on that page.

The masks are coloured JPEGs: red for the part of one camera and green for the part of the other, which was spliced in
(photoholmes and others interpret them in this way). Green is therefore compared with red, and a white mask is written.

Some copies also contain the photos as JPEG, in subfolders ``0jpg``. If a photo exists as TIFF, the TIFF is used.

The names do not tell which photos a splice consists of, so each splice is its own group; authentic photos of the same
scene (canong3_02) form a group. No bad files are known.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from boxpromptiml.datasets.layout import Expected, Found, MaskForm, Unpaired
from boxpromptiml.datasets.pairing import find_folder, images_in, need_folder, pair, untouched

EXPECTED = Expected(manipulated=180, authentic=183, train=130, test=50)
MASKS: MaskForm = "green"
TIFF = (".tif", ".tiff")


def find(root: Path) -> Found:
    """List the data set at ``root``."""
    spliced = need_folder(root, "4cam_splc")
    truth = find_folder(spliced, "edgemask") or need_folder(root, "edgemask")
    masks = [mask for mask in images_in(truth) if mask.stem.endswith("_edgemask")]
    splices, copies = _without_copies(images_in(spliced, truth))
    paired, strays = pair(
        splices,
        masks,
        mask_names=lambda image: [f"{image.stem}_edgemask"],
        kind=lambda image: "splice",
    )
    photos = [image for image in images_in(find_folder(root, "4cam_auth")) if image.parent.name != "edgemask"]
    photos, more_copies = _without_copies(photos)
    scenes = untouched(photos, lambda image: image.stem.split("_sub_")[0])
    return Found(root, [*paired, *scenes], [*strays, *copies, *more_copies])


def _without_copies(images: list[Path]) -> tuple[list[Path], list[Unpaired]]:
    """Remove photos that also exist as TIFF; return the rest and a message for each folder of such copies."""
    tiffs = {image.stem for image in images if image.suffix.lower() in TIFF}
    copies = [image for image in images if image.suffix.lower() not in TIFF and image.stem in tiffs]
    counts = Counter(image.parent for image in copies)
    lines = [
        f"{folder}: {count} copies of photos are ignored, because the TIFF files are used"
        for folder, count in counts.items()
    ]
    return [image for image in images if image not in set(copies)], [
        Unpaired(f, line) for f, line in zip(counts, lines, strict=True)
    ]

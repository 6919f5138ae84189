"""Reading and writing of images. All pixel access goes through this package, which defines the value ranges.

Photos are (H, W, 3) uint8 RGB, upright; masks are (H, W) bool; probability maps are (H, W) float32 in [0, 1].
"""

from boxpromptiml.images.arrays import Instances, Mask, Photo, Probability
from boxpromptiml.images.decoding import (
    DEFAULT_MAX_PIXELS,
    Upright,
    decode_photo,
    max_pixels,
    read_photo,
    read_size,
    read_upright,
)
from boxpromptiml.images.errors import (
    EmptyMaskError,
    FullMaskError,
    ImageError,
    MaskError,
    MaskSizeError,
    MissingMaskError,
    NotAMaskError,
    NotAnImageError,
    OrientationError,
    PhotoSizeError,
    PixelRangeError,
    TooLargeError,
    UnexpectedMaskError,
)
from boxpromptiml.images.file_facts import FileFacts, read_facts
from boxpromptiml.images.files import FORMATS, IMAGE_SUFFIXES, FolderContent, beside, list_images, named, scan_folder
from boxpromptiml.images.masks import MaskForm, doubt, read_mask
from boxpromptiml.images.pairs import Truth, read_instances, read_pair, read_record, read_truth
from boxpromptiml.images.resizing import (
    resize_mask,
    resize_photo,
    resize_picture,
    resize_probability,
    resize_tensor,
    side_weights,
)
from boxpromptiml.images.writing import (
    JPEG_SIDE,
    jpeg_round_trip,
    mask_png,
    to_uint8,
    write_mask,
    write_photo,
    write_probability,
)

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "FORMATS",
    "IMAGE_SUFFIXES",
    "JPEG_SIDE",
    "EmptyMaskError",
    "FileFacts",
    "FolderContent",
    "FullMaskError",
    "ImageError",
    "Instances",
    "Mask",
    "MaskError",
    "MaskForm",
    "MaskSizeError",
    "MissingMaskError",
    "NotAMaskError",
    "NotAnImageError",
    "OrientationError",
    "Photo",
    "PhotoSizeError",
    "PixelRangeError",
    "Probability",
    "TooLargeError",
    "Truth",
    "UnexpectedMaskError",
    "Upright",
    "beside",
    "decode_photo",
    "doubt",
    "jpeg_round_trip",
    "list_images",
    "mask_png",
    "max_pixels",
    "named",
    "read_facts",
    "read_instances",
    "read_mask",
    "read_pair",
    "read_photo",
    "read_record",
    "read_size",
    "read_truth",
    "read_upright",
    "resize_mask",
    "resize_photo",
    "resize_picture",
    "resize_probability",
    "resize_tensor",
    "scan_folder",
    "side_weights",
    "to_uint8",
    "write_mask",
    "write_photo",
    "write_probability",
]

"""Array types of images in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Photo = NDArray[np.uint8]
"""(H, W, 3) RGB, upright."""
Mask = NDArray[np.bool_]
"""(H, W), True = manipulated."""
Probability = NDArray[np.float32]
"""(H, W) in [0, 1]."""
Instances = NDArray[np.int32]
"""(H, W), 0 for the background and a positive number per object."""

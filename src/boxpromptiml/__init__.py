"""Image manipulation localization learned from coarse boxes.

Importing the package imports nothing heavy. `Localizer`, a trained student that is applied to new photos, is imported
on first access.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Localizer", "__version__"]

if TYPE_CHECKING:
    from stage2_distill.inference.localizer import Localizer
else:

    def __getattr__(name: str) -> object:
        if name != "Localizer":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from stage2_distill.inference.localizer import Localizer

        return Localizer

"""A trained student on new photos: localizer, prediction, tiling, export."""

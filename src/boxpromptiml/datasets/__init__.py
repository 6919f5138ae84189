"""Creating manifests from data sets and annotations, and checking them."""

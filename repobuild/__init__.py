"""Build local YUM and APT repositories and offline bundles."""

__version__ = "0.1.0"

"""The Debian family."""

"""Lock and metadata -> tree -> published repository.

A tree is staged whole beside the repository, flushed, and exchanged with it in one step; the former one becomes the
previous generation. Where folders cannot be exchanged (the repository is a mount point, an overlay, an old kernel),
files are renamed one by one: payload, indexes, pointers, marker.
"""

from repobuild.publish.repository import Current, Repository
from repobuild.publish.sources import PreviousGeneration, Source
from repobuild.publish.tree import make_file, make_tree

__all__ = ["Current", "PreviousGeneration", "Repository", "Source", "make_file", "make_tree"]

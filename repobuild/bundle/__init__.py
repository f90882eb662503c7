"""Published repositories -> bundle: one file, or volumes, or deltas, with what proves them beside it.

What goes in is what the marker lists, nothing else that lies on the disk. Every file is hashed while it is copied and
has to be what the marker says; a bundle of anything else never gets its final name. The form is that of `archive`: the
same lock, options and repobuild give the same bytes (G6).

values    what the stage is told, and what it tells
contents  repository and lock -> contents
older     what the far side has: a lock, a part of an older bundle, or its own list
cutting   contents -> parts
names     pattern and locks -> file names
writing   part -> file
beside    SHA256SUMS, its signature, installer and keys
"""

from repobuild.bundle.cutting import parse_volume_size
from repobuild.bundle.names import PATTERN, expand
from repobuild.bundle.older import Old, read_old
from repobuild.bundle.run import write_bundle
from repobuild.bundle.values import PIGSTY_DELETES, BundleResult, BundleSpec, Source, WrittenPart

__all__ = [
    "PATTERN",
    "PIGSTY_DELETES",
    "BundleResult",
    "BundleSpec",
    "Old",
    "Source",
    "WrittenPart",
    "expand",
    "parse_volume_size",
    "read_old",
    "write_bundle",
]

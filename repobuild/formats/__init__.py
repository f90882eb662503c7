"""Package families. Nobody outside `FORMATS` asks which one a target has.

A new family is one room here and one line in the table.
"""

from collections.abc import Mapping

from repobuild.formats.deb.family import DebFormat
from repobuild.formats.protocol import Format
from repobuild.formats.rpm.family import RpmFormat

FORMATS: Mapping[str, Format] = {"deb": DebFormat(), "rpm": RpmFormat()}

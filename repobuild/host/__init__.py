"""What the build machine says of itself: its target, and what its own package manager reads from.

All of it is a hint from a machine we do not know: reads are bounded, and a part that cannot be understood is skipped
with a note, never an error. Nothing found here is trusted: what a mirror serves is verified like everything else.

machine  its target
apt      mirrors of apt
yum      repositories of dnf or yum
"""

from repobuild.host.apt import apt_mirrors, apt_settings
from repobuild.host.machine import host_target
from repobuild.host.yum import yum_repositories

__all__ = ["apt_mirrors", "apt_settings", "host_target", "yum_repositories"]

"""Parts of bundles -> what can be published: verified, unpacked into a staging folder, typed.

Nothing is visible to a client before the whole tree is there and proven. What is proven by what:

    trust     a key that this machine believes    signs  SHA256SUMS
    sums      SHA256SUMS                          names  the digest of each part
    part      a part that has its digest          holds  contents, which list every file of the tree
    staging   each file has the digest that the contents say; the marker follows from them

memory    which keys were believed before
place     the repository in place, the working area, free space
plan      what an install would change
receipt   what came, when and by whom
have      what is in place, for the next delta
"""

from repobuild.install.have import have_list
from repobuild.install.memory import keys_in_place, read_key, recall, remember
from repobuild.install.part import Bundle, Part, by_bundle, finish_reading, inspect, prove, read_text, reading
from repobuild.install.place import InstallSpec
from repobuild.install.plan import InstallPlan, plan_install, require_room_for_all
from repobuild.install.receipt import UNSIGNED, TransferReceipt, write_receipt
from repobuild.install.staging import Arrival, Incoming, Staged, Staging, receive, unpack
from repobuild.install.trust import Judge, KnownKey, TrustSpec, Voucher, known_keys

__all__ = [
    "UNSIGNED",
    "Arrival",
    "Bundle",
    "Incoming",
    "InstallPlan",
    "InstallSpec",
    "Judge",
    "KnownKey",
    "Part",
    "Staged",
    "Staging",
    "TransferReceipt",
    "TrustSpec",
    "Voucher",
    "by_bundle",
    "finish_reading",
    "have_list",
    "inspect",
    "keys_in_place",
    "known_keys",
    "plan_install",
    "prove",
    "read_key",
    "read_text",
    "reading",
    "recall",
    "receive",
    "remember",
    "require_room_for_all",
    "unpack",
    "write_receipt",
]

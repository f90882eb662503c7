"""Proofs: of a repository's or bundle's bytes, of what it tells its clients, and that its wants install from it alone.

problems      what can be wrong
integrity     every byte is what marker and lock say
signatures    who signed the roots and the packages
metadata      what clients will read equals the packages
installable   the wants install from each base, alone and together
receipt       the outcome as a value that travels
"""

from repobuild.check.installable import Demand, Proof, demand_of, open_offer, prove
from repobuild.check.integrity import Integrity, check_repository
from repobuild.check.metadata import Holding, compare
from repobuild.check.problems import Fault, Problem, in_order
from repobuild.check.receipt import Receipt
from repobuild.check.signatures import Signed, SignedPackage, check_packages, check_signatures

__all__ = [
    "Demand",
    "Fault",
    "Holding",
    "Integrity",
    "Problem",
    "Proof",
    "Receipt",
    "Signed",
    "SignedPackage",
    "check_packages",
    "check_repository",
    "check_signatures",
    "compare",
    "demand_of",
    "in_order",
    "open_offer",
    "prove",
]

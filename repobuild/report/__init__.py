"""A lock for people and for machines: one HTML page that stands alone, and a CycloneDX SBOM.

values    what is said
treemap   areas in proportion
style     how the page looks, and its search
page      the HTML
sbom      the CycloneDX document, by a library that is optional
"""

from repobuild.report.page import page
from repobuild.report.sbom import PurlOf, sbom
from repobuild.report.values import Item, ProofSummary, Proven, ReportSpec, Source, Wanted

__all__ = ["Item", "ProofSummary", "Proven", "PurlOf", "ReportSpec", "Source", "Wanted", "page", "sbom"]

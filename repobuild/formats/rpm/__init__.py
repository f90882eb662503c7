"""The RPM family.

family              what the rest of the house knows
repomd              an upstream's root
universe*           all packages in libsolv, as dnf sets it up; index texts and their cache; specifications
modules*, groups    modules.yaml and what it hides; comps.xml
resolver*           wants to candidates to a set: stock, wants, solving, reasons, problems, packages
header, package     .rpm files: read within bounds, and proven by their signatures
repository          our repodata/, by createrepo (the only importer of createrepo_c); passing: upstreams' own words
client              `.repo` files
"""

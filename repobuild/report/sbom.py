"""The report as a software bill of materials: CycloneDX 1.6 JSON, written by the project's own library.

The library is an optional extra, so it is imported only here and only now. The same values give the same bytes: the
serial number follows from the lock, and the time is the lock's.
"""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from repobuild.errors import UsageError
from repobuild.formats.values import PackageUrl
from repobuild.report.values import Item, ReportSpec

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component

# ruff: noqa: PLC0415

PurlOf = Callable[[Item], PackageUrl]
"""The parts of an item's package URL."""
_SERIALS = uuid.UUID("6f0f7f0a-6c50-5d0e-9a3e-3f1c2f0c5b1e")
"""The name space of our serial numbers."""


def sbom(spec: ReportSpec, purl_of: PurlOf, version: str) -> str:
    """Return the document; `version` is repobuild's own.

    Raises:
        UsageError: when the extra `sbom` is not installed.
    """
    try:
        from cyclonedx.output.json import JsonV1Dot6
    except ImportError as error:
        raise UsageError("an SBOM takes libraries that are not installed", "pip install 'repobuild[sbom]'") from error
    return str(JsonV1Dot6(_bom(spec, purl_of, version)).output_as_string(indent=1)) + "\n"


def _bom(spec: ReportSpec, purl_of: PurlOf, version: str) -> "Bom":
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository

    tool = Component(name="repobuild", version=version, type=ComponentType.APPLICATION, bom_ref="repobuild")
    whole = Component(
        name=f"{spec.name} for {spec.target}",
        version=spec.version or None,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=spec.lock,
    )
    metadata = BomMetaData(
        timestamp=datetime.fromtimestamp(spec.time, UTC), component=whole, tools=ToolRepository(components=[tool])
    )
    components = [_component(each, purl_of(each)) for each in spec.items]
    bom = Bom(
        serial_number=uuid.uuid5(_SERIALS, spec.lock), metadata=metadata, components=[*components, *_assets(spec)]
    )
    bom.register_dependency(whole, components)
    for each, component in zip(spec.items, components, strict=True):
        bom.register_dependency(component, [components[number] for number in sorted(set(each.needs))])
    return bom


def _component(item: Item, purl: PackageUrl) -> "Component":
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    said = (("upstream", item.upstream), ("file", item.filename), ("why", item.why))
    return Component(
        name=item.name,
        version=item.version,
        type=ComponentType.LIBRARY,
        bom_ref=item.filename,
        description=item.summary or None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=item.sha256)],
        licenses=[LicenseFactory().make_from_string(item.licence)] if item.licence else [],
        properties=[Property(name=f"repobuild:{name}", value=value) for name, value in said],
        purl=PackageURL(
            type=purl.type,
            namespace=purl.namespace,
            name=item.name,
            version=purl.version,
            qualifiers=dict(purl.qualifiers),
        ),
    )


def _assets(spec: ReportSpec) -> "Iterator[Component]":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    for name, _, sha256 in spec.assets:
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha256)]
        yield Component(name=name, type=ComponentType.FILE, bom_ref=f"file {name}", hashes=hashes)

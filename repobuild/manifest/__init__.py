"""The manifest: YAML text -> Manifest -> what one target sees of it (`model.Job`).

Read in this order: `schema` (which keys there are), `manifest` (what a target sees), then what they use; `pigsty` reads
Pigsty's own files instead.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from repobuild.errors import UsageError
from repobuild.manifest.access_schema import join_accesses, load_accesses
from repobuild.manifest.description import Description, UpstreamDescription
from repobuild.manifest.generation import Generation
from repobuild.manifest.manifest import Manifest, check_accepted
from repobuild.manifest.pigsty import INVENTORY, Pigsty, find_folder, is_inventory
from repobuild.manifest.reading import Place
from repobuild.manifest.schema import read_document
from repobuild.manifest.shipped import default_manifest, shipped_folder
from repobuild.manifest.texts import read_tree
from repobuild.model import Target

__all__ = [
    "Description",
    "Generation",
    "Manifest",
    "Manifests",
    "UpstreamDescription",
    "check_accepted",
    "default_manifest",
    "join_accesses",
    "load",
    "load_accesses",
    "load_all",
    "shipped_folder",
]


class Manifests(Protocol):
    """What a run reads: one document for all targets, or Pigsty's files, which come to one for each."""

    @property
    def path(self) -> Path:
        """The document that names the run's locks."""

    @property
    def general(self) -> Manifest:
        """What does not depend on a target: names, places, the region, the signing key."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that it is for."""

    def of(self, target: Target) -> Manifest:
        """Return the manifest of a target."""


@dataclass(frozen=True, slots=True)
class _One:
    """One document for all targets."""

    general: Manifest

    @property
    def path(self) -> Path:
        return self.general.path

    @property
    def targets(self) -> tuple[Target, ...]:
        return self.general.targets

    def of(self, target: Target) -> Manifest:  # noqa: ARG002 -- the form of `Manifests`
        return self.general


def load_all(
    config: Path | None, pigsty: Path | None = None, generation: Generation | None = None, profile: str | None = None
) -> Manifests:
    """Read what a run is asked to read.

    Args:
        config: a manifest, or an inventory of Pigsty; None for the folder's inventory, else for the shipped manifest.
        pigsty: Pigsty's folder; None for the one that the inventory lies in.
        generation: of Pigsty, whose rules count for its own files; None for what they say.
        profile: of the manifest.

    Raises:
        UsageError: when something cannot be read, or is not for this kind of document.
        ManifestError: with every error in a document.
    """
    path = config or (pigsty / INVENTORY if pigsty is not None else default_manifest())
    if config is None and pigsty is not None and not path.exists():
        return Pigsty(path, None, pigsty, generation, profile)
    source, root = read_tree(path, is_tolerant=True)
    if is_inventory(root):
        return Pigsty(path, (source, root), pigsty or find_folder(path), generation, profile)
    if pigsty is not None:
        raise UsageError(f"--pigsty goes with an inventory, and this is none: {path}", "leave out -c, or --pigsty")
    if generation is not None:
        raise UsageError("--generation is for Pigsty's own files", "a manifest states it: generation: v4")
    return _One(read_document(Place(source.as_ours(), "", root), path, profile))


def load(path: Path, *, text: bytes | None = None, profile: str | None = None) -> Manifest:
    """Read a manifest.

    Args:
        path: the document; messages name it, and files it names are looked for beside it.
        text: its content where it was read already.
        profile: the name of one of its profiles.

    Raises:
        UsageError: when the file cannot be read, or has no such profile.
        ManifestError: with every error in the document.
    """
    source, root = read_tree(path, text=text)
    return read_document(Place(source, "", root), path, profile)

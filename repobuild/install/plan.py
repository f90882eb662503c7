"""What an install would change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from repobuild.archive.contents import Contents
from repobuild.errors import DiskError
from repobuild.install.place import (
    InstallSpec,
    device_at,
    free_at,
    listed_in,
    repository_in_place,
    staged_digests,
    status_of,
    with_spare,
)
from repobuild.install.staging import needed


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallPlan:
    """What an install would change, by path with bytes, and what it takes."""

    added: Mapping[str, int]
    changed: Mapping[str, int]
    kept: Mapping[str, int]
    removed: Mapping[str, int]
    """Files of the repository in place that the bundle does not have; 0 bytes where the file is gone already."""
    need: int
    """Bytes that have to be free."""
    free: int
    """Bytes that are."""
    missing: tuple[int, ...]
    """Numbers of the parts that have still to come."""
    absent: tuple[str, ...]
    """Paths of files that no part carries and that are not in place: the delta is for another repository."""

    @property
    def is_complete(self) -> bool:
        """Whether the parts at hand, with what is here, are all that it takes."""
        return not self.missing and not self.absent


def plan_install(
    spec: InstallSpec, contents: Contents, parts: Iterable[int], before: Contents | None = None
) -> InstallPlan:
    """Return what installing a bundle would change; nothing is written or hashed.

    Args:
        spec: where it goes.
        contents: of the bundle.
        parts: numbers of the parts at hand.
        before: of a bundle that is installed there first, None when what is in place now counts.
    """
    staged = staged_digests(spec)
    files = {file.path: file for file in needed(contents)}
    with repository_in_place(spec) as place:
        listed = listed_in(place) if place is not None else {}
        status = {path: status_of(place, path) for path in listed} if place is not None else {}
    there = {path: each.st_size if each is not None else 0 for path, each in status.items()}
    if before is not None:
        listed = {file.path: file.sha256 for file in needed(before)}
        there = {file.path: file.size for file in needed(before)}
    sizes = {file.sha256: file.size for file in files.values()}
    here = {digest for digest, size in staged.items() if sizes.get(digest) == size}
    held = {(listed[path], size) for path, size in there.items()}
    numbers = set(parts)
    carriers = contents.carriers or (1,) * len(contents.files)
    pairs = zip(needed(contents), carriers, strict=False)  # the marker, last of all, need not come
    by_part = [(file, part) for file, part in pairs if file.sha256 not in here]
    kept = {path: file.size for path, file in files.items() if listed.get(path) == file.sha256}
    taken = {file.sha256 for file, part in by_part if part == 0 and (file.sha256, file.size) in held}
    to_write = {file.sha256: file.size for file, _ in by_part if file.sha256 not in taken}
    return InstallPlan(
        added={path: file.size for path, file in files.items() if path not in listed},
        changed={path: file.size for path, file in files.items() if path in listed and path not in kept},
        kept=kept,
        removed={path: size for path, size in sorted(there.items()) if path not in files},
        need=with_spare(sum(to_write.values())),
        free=free_at(spec.path.parent),
        missing=tuple(sorted({part for _, part in by_part if part} - numbers)),
        absent=tuple(file.path for file, part in by_part if part == 0 and file.sha256 not in taken),
    )


def require_room_for_all(plans: Iterable[tuple[InstallSpec, InstallPlan]]) -> None:
    """Make sure that several installs together find room, before the first of them begins.

    Raises:
        DiskError: when they do not.
    """
    needs: dict[int, int] = {}
    for spec, plan in plans:
        device = device_at(spec.path.parent)
        needs[device] = needs.get(device, 0) + plan.need
        if needs[device] > plan.free:
            raise DiskError(
                f"the parts need {needs[device]} bytes, {plan.free} are free: {spec.path.parent}",
                "free some space or choose another --home, then run the same command again",
            )

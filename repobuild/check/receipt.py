"""The outcome of a check as a value that travels: what was proven of what, and what does not hold."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from repobuild.check.installable import Proof
from repobuild.check.problems import Fault, Problem
from repobuild.errors import HostileInputError, ProofError

_T = TypeVar("_T")
FORMAT = 1
LIMIT = 16 << 20
"""Bytes of a receipt."""
_SCALARS = ("kind", "name", "target", "version", "time", "lock", "marker", "files", "size", "packages", "signer")
_NUMBERS = frozenset({"time", "files", "size", "packages"})
_PARTS = ("volume", "delta")
_LISTED = 40
"""Problems that people read through; JSON has all of them."""
_SHOWN = 5
"""Problems that an error's message holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a check found. It says nothing of where or when it was made: the same content has the same receipt."""

    kind: str
    """`repository`, `bundle` or `lock`; `volume` or `delta`, of which nothing but their own files is proven."""
    name: str
    target: str
    version: str
    time: int
    """The lock's, seconds since the epoch."""
    lock: str
    """sha256 of the lock's text, "" when there is none."""
    marker: str
    """sha256 of the marker; "" for a lock, and where there is none."""
    files: int
    """Files that the marker lists."""
    size: int
    """Bytes that were hashed."""
    packages: int
    """Packages whose metadata was compared."""
    signer: str
    """Fingerprint of the key that signed the roots, "" for none."""
    proofs: tuple[Proof, ...]
    """One for each base."""
    missing: tuple[str, ...] = ()
    """Wants that no upstream had when the lock was made: nobody proves them."""
    problems: tuple[Problem, ...] = ()
    """In order; those of the proofs too."""
    remarks: tuple[str, ...] = ()
    """What a person should know, beside the notes of the proofs."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def of_lock(self) -> "Receipt":
        """Return what of it follows from the lock alone, nothing being wrong: the receipt that travels."""
        return replace(self, kind="lock", marker="", files=0, size=0, signer="", problems=(), remarks=())

    def unlike(self, other: "Receipt") -> tuple[str, ...]:
        """Return the keys of what two receipts say differently, sorted."""
        one, two = self.to_json(), other.to_json()
        return tuple(sorted(key for key in one if one[key] != two[key]))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know."""
        return tuple(dict.fromkeys((*self.remarks, *(note for proof in self.proofs for note in proof.notes))))

    def to_json(self) -> Mapping[str, object]:
        """Return it as values that `json.dumps` takes."""
        return {
            "format": FORMAT,
            **{name: getattr(self, name) for name in _SCALARS},
            "bases": [
                {"base": each.base, "wants": list(each.wants), "sets": each.sets, "relies": list(each.relies)}
                for each in self.proofs
            ],
            "missing": list(self.missing),
            "notes": list(self.notes),
            "problems": [
                {"fault": each.fault.value, "path": each.path, "detail": each.detail} for each in self.problems
            ],
        }

    def to_bytes(self) -> bytes:
        """Return the text that travels; the same bytes for the same value."""
        return json.dumps(self.to_json(), indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_bytes(cls, text: bytes, what: str) -> "Receipt":
        """Return what `to_bytes` wrote; `what` names it in messages.

        Raises:
            HostileInputError: for anything else: what is read is written again and compared.
        """
        try:
            found = cls._from_json(json.loads(text)) if len(text) <= LIMIT else None
            if found is not None and found.to_bytes() == text:
                return found
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise HostileInputError(f"not a receipt: {what}") from error
        raise HostileInputError(f"not a receipt of format {FORMAT}, or larger than {LIMIT} bytes: {what}")

    @classmethod
    def _from_json(cls, said: Any) -> "Receipt":
        proofs = tuple(
            Proof(
                base=_of(str, each["base"]),
                wants=_texts(each["wants"]),
                sets=_of(int, each["sets"]),
                relies=_texts(each["relies"]),
            )
            for each in said["bases"]
        )
        problems = tuple(
            Problem(Fault(each["fault"]), _of(str, each["path"]), _of(str, each["detail"])) for each in said["problems"]
        )
        scalars: dict[str, Any] = {name: _of(int if name in _NUMBERS else str, said[name]) for name in _SCALARS}
        return cls(
            **scalars,
            proofs=proofs,
            missing=_texts(said["missing"]),
            problems=problems,
            remarks=_texts(said["notes"]),
        )

    def lines(self) -> tuple[str, ...]:
        """Return it for people, a line each."""
        if self.kind in _PARTS:
            return (f"{self.files} files are what they have to be; check the repository once all parts are installed",)
        found = [f"{self.files} files, {self.packages} packages, {self._signature()}"] if self.kind != "lock" else []
        for proof in self.proofs:
            relies = f", relying on {len(proof.relies)} packages of it" if proof.relies else ""
            found.append(
                f"from base {proof.base}: {len(proof.wants)} wants install alone, {proof.sets} sets as a whole{relies}"
            )
        found += [f"missing since the lock was made: {', '.join(self.missing)}"] if self.missing else []
        found += [f"note: {note}" for note in self.notes]
        found += map(str, self.problems[:_LISTED])
        return (*found, *([f"and {len(self.problems) - _LISTED} more problems"] if self.problems[_LISTED:] else []))

    def _signature(self) -> str:
        return f"signed by {self.signer}" if self.signer else "not signed"

    @property
    def hint(self) -> str:
        """What to do about the problems."""
        faults = {problem.fault for problem in self.problems}
        if faults == {Fault.WANT}:
            return "the lock itself holds too little: mend the manifest, and repobuild lock --update"
        if faults == {Fault.UNPROVEN}:
            return "a newer lock says it itself: repobuild lock --update, with the manifest that names the base"
        if faults == {Fault.HIDDEN}:
            return "let the web server read it: chmod -R a+rX PATH"
        if faults == {Fault.SIGNATURE}:
            return "ask who made it for the right public key (repobuild key export), and give it: --key FILE"
        return "repobuild sync heals what the lock pins; or install again"

    @property
    def summary(self) -> str:
        """The first problems in a line."""
        shown = "; ".join(map(str, self.problems[:_SHOWN]))
        return shown + (f" and {len(self.problems) - _SHOWN} more" if len(self.problems) > _SHOWN else "")

    def prove(self) -> None:
        """Return when nothing is wrong.

        Raises:
            ProofError: naming the first problems.
        """
        if not self.is_whole:
            raise ProofError(f"this {self.kind} does not hold what it says: {self.summary}", self.hint)


def _of(kind: type[_T], value: object) -> _T:
    """Return a value of this very type.

    Raises:
        TypeError: for any other.
    """
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {str(value)[:40]!r}")
    return value


def _texts(values: object) -> tuple[str, ...]:
    return tuple(_of(str, each) for each in _of(list, values))

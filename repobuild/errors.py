"""Every deliberate error, each class named for what went wrong and owning the exit code.

    RepobuildError                    1   (a bug, when raised as itself)
    ├── UsageError                    2   the command line asks for something that cannot be
    │   └── ManifestError             2   the manifest, with every error found in it
    ├── RefusedError                  3   what came from outside is not what it has to be
    │   ├── VerificationError         3   a signature, digest or size does not hold
    │   ├── HostileInputError         3   malformed, oversized or dangerous input
    │   └── RollbackError             3   older than what was seen before (G8)
    ├── UnresolvableError             4   the wants cannot be had
    │   └── MissingError              4   names that no upstream has
    ├── UnreachableError              5   no mirror answered
    │   ├── NotFoundError             5   a mirror answers that it does not have the file
    │   ├── DeniedError               5   a server or proxy wants credentials, or others than those given
    │   └── PinnedFileGoneError       5   upstream no longer has a file that the lock pins
    ├── ProofError                    6   a check does not hold
    ├── DiskError                     7   disk full, no permission, an I/O error
    └── BusyError                    75   another run holds the lock

A message is lower case, has no full stop and ends with the value; the hint is the next thing to do.
"""

from collections.abc import Sequence


class RepobuildError(Exception):
    """Something went wrong that a person can act on: what, where, and what to do next."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RepobuildError):
    """The command line or a setting asks for something that cannot be."""

    exit_code = 2


class ManifestError(UsageError):
    """A manifest is wrong; `problems` holds every error found, one line each."""

    def __init__(self, problems: Sequence[str], hint: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems), hint)


class RefusedError(RepobuildError):
    """What came from outside is refused; nothing of it was used."""

    exit_code = 3


class VerificationError(RefusedError):
    """A signature, digest or size does not hold."""


class HostileInputError(RefusedError):
    """Input is malformed, exceeds a bound, or tries what it must not."""


class RollbackError(RefusedError):
    """Upstream or a bundle is older than what was seen before."""


class UnresolvableError(RepobuildError):
    """The wants cannot be had from the upstreams."""

    exit_code = 4


class MissingError(UnresolvableError):
    """Names that no upstream has; `names` maps each to its near matches, `reasons` to what else there is to say."""

    def __init__(
        self, names: dict[str, tuple[str, ...]], hint: str | None = None, *, reasons: dict[str, str] | None = None
    ) -> None:
        self.names = names
        self.reasons = reasons or {}
        lines = []
        for name, near in names.items():
            details = [self.reasons[name]] if name in self.reasons else []
            details += [f"near: {', '.join(near)}"] if near else []
            lines.append(f"{name} ({'; '.join(details)})" if details else name)
        super().__init__("no upstream has: " + "; ".join(lines), hint)


class UnreachableError(RepobuildError):
    """No mirror of an upstream could be reached."""

    exit_code = 5


class NotFoundError(UnreachableError):
    """A mirror answers, and says that it does not have the file."""


class DeniedError(UnreachableError):
    """A server or proxy wants credentials or a client certificate, or others than those given."""


class PinnedFileGoneError(UnreachableError):
    """Upstream no longer has a file that the lock pins."""


class ProofError(RepobuildError):
    """A proof does not hold; the message names what breaks it."""

    exit_code = 6


class DiskError(RepobuildError):
    """The disk is full, a permission is missing, or the device reports an error."""

    exit_code = 7


class BusyError(RepobuildError):
    """Another run holds the lock."""

    exit_code = 75

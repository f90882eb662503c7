"""Back to the generation before."""

from dataclasses import replace
from pathlib import Path

from repobuild import lock
from repobuild.errors import UsageError
from repobuild.model import Lock
from repobuild.pipeline.locking import write_lock
from repobuild.pipeline.making import beside, make_tree, published_key
from repobuild.pipeline.session import Session


def rollback(session: Session, target: str, name: str, path: Path | None = None) -> Lock:
    """Publish the generation before this one again, under a new time so that every client takes it.

    Args:
        session: the run.
        target: whose repository.
        name: of the repository.
        path: of a lock file that is to follow, None when there is none.

    Raises:
        UsageError: when there is no generation before this one, or it was signed with a key that is not here.
        ProofError: when it would not install.
    """
    repository = session.repository(target, name)
    current = repository.current()
    previous = repository.previous()
    if current is None or previous is None or previous.lock_text is None:
        raise UsageError(f"there is no earlier generation of {repository.path}", "nothing was changed")
    now = lock.read(current.lock_text, str(repository.path)) if current.lock_text else None
    former = lock.read(previous.lock_text, f"the previous generation of {repository.path}")
    chosen = replace(former, time=max(former.time, now.time if now else 0) + 1)
    if session.settings.key is None and published_key(repository, name):
        raise UsageError(
            "the repository is signed, and a rollback has to be signed anew, for clients ignore an index older than "
            f"theirs; the key is not here: {repository.path}",
            "name the key: --key FILE; where it is not, behind an air gap, run `repobuild rollback` and "
            "`repobuild bundle --published` on the machine that makes the bundles, and install that bundle here",
        )
    text = lock.write(chosen)
    tree = make_tree(session, chosen, text, repository, previous.path, has_been=True)
    repository.publish(tree, previous, beside={}, now=session.settings.now, progress=session.progress)
    repository.write_beside(beside(session, chosen, published_key(repository, name)))
    if path is not None:
        write_lock(path, text)
    return chosen

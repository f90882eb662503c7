"""Signers for the rooms that write indexes: one that really signs, and one that remembers what it was given."""

from repobuild.signing import SigningKey


class PretendingSigner:
    """Answers with the kind of signature it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    def inline(self, text: bytes) -> bytes:
        self.asked.append(("inline", text))
        return b"inline"

    def detached(self, text: bytes, *, one_block: bool = True) -> bytes:
        kind = "detached" if one_block else "a block each"
        self.asked.append((kind, text))
        return kind.encode()


class FreshSigner:
    """Signs with a key, keeping nothing."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def inline(self, text: bytes) -> bytes:
        return self._key.clear_sign(text)

    def detached(self, text: bytes, *, one_block: bool = True) -> bytes:
        return self._key.detach_sign(text, one_block=one_block)

"""What makes a change of the log seen: a chain of hashes over its batches, and signatures of where it stood.

    digest_n = SHA-256(the rows of batch n, one line of JSON each)
    hash_n   = SHA-256(hash_{n-1} ‖ digest_n),  hash_0 = 32 zero bytes

Whoever changes, removes or adds a row has to compute every later hash again, and cannot sign the checkpoints again.
What was added after the last checkpoint can still be removed; where that matters, checkpoints are kept elsewhere too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

START = bytes(32)
_DOMAIN = b"codemode log checkpoint 1\n"
_KEY_BYTES = 32


class LogKeyUnusable(Exception):
    """The file has no key. `str()` says what to do."""


def digest_of(lines: Iterable[bytes]) -> bytes:
    """The digest of a batch: of its rows, each as a JSON array of its columns, in order of their ids."""
    whole = sha256()
    for line in lines:
        whole.update(line)
        whole.update(b"\n")
    return whole.digest()


def linked(previous: bytes, digest: bytes) -> bytes:
    """The hash of a batch with this digest, behind one with the `previous` hash."""
    return sha256(previous + digest).digest()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the chain stood: the number of the last batch, its hash, and when (microseconds since 1970)."""

    batch: int
    hash: bytes
    at: int

    @property
    def text(self) -> bytes:
        """What is signed."""
        return _DOMAIN + b"%d %d %s" % (self.batch, self.at, self.hash.hex().encode())


class LogKey:
    """The key that signs checkpoints (Ed25519, RFC 8032)."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    @classmethod
    def open(cls, path: Path) -> LogKey:
        """The key in this file, which is made for its owner alone if it is not there.

        Raises:
            LogKeyUnusable: it has no key, or cannot be read.
        """
        try:
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                seed = bytes.fromhex(path.read_text("ascii").strip())
            else:
                seed = os.urandom(_KEY_BYTES)
                with os.fdopen(descriptor, "w") as file:
                    file.write(seed.hex() + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            return cls(Ed25519PrivateKey.from_private_bytes(seed))
        except (ValueError, UnicodeDecodeError):
            raise LogKeyUnusable(
                f"{path}: this is no key of the log. Restore it, or remove it to begin with another."
            ) from None
        except OSError as error:
            raise LogKeyUnusable(f"{path}: {error.strerror or error}.") from None

    def sign(self, checkpoint: Checkpoint) -> bytes:
        return self._private.sign(checkpoint.text)


def is_signed(checkpoint: Checkpoint, signature: bytes, public: bytes) -> bool:
    """Whether this is the signature of a checkpoint with this key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, checkpoint.text)
    except (InvalidSignature, ValueError):
        return False
    return True

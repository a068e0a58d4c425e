"""Passwords of the dashboard's users: made into argon2id hashes, and checked without telling who exists.

A check costs memory and time on purpose, so few run at once, and a wrong name costs as much as a right one.
"""

from __future__ import annotations

import base64
import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from integration.domain.errors import RingbackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from argon2 import Parameters

SHORTEST: Final = 12
LONGEST: Final = 1024
PASSWORD_WORDS: Final = f"{SHORTEST} to {LONGEST} characters"
HASH_WORDS: Final = (
    'an argon2id hash as `ringback user NAME` prints it, "$argon2id$…", with at most 256 MiB and 10 rounds'
)
_MOST_KIB: Final = 256 * 1024
_MOST_ROUNDS: Final = 10
_MOST_QUEUES: Final = 16
# OWASP's first choice for argon2id: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class BusyError(RingbackError):
    """Too many passwords are being checked just now."""


def hashed(password: str) -> str:
    """Hash a password for the configuration. Raises ValueError for one that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(PASSWORD_WORDS)
    return _HASHER.hash(password)


def is_sound(text: str) -> bool:
    """Tell whether a text is a hash that can be checked at a bounded cost."""
    try:
        found = extract_parameters(text)
    except InvalidHashError:
        return False
    bounded = found.memory_cost <= _MOST_KIB and found.time_cost <= _MOST_ROUNDS
    return found.type is Type.ID and bounded and found.parallelism <= _MOST_QUEUES


class Verifier:
    """Checks passwords, `at_once` at a time; others wait for `patience_seconds`."""

    def __init__(self, *, at_once: int = 2, patience_seconds: float = 2.0) -> None:
        self._places = threading.BoundedSemaphore(at_once)
        self._patience_seconds = patience_seconds

    def right(self, password: str, hash_: str | None, others: Iterable[str]) -> bool:
        """Tell whether a password is that of a hash; None stands for a user that there is not.

        `others` are the hashes of all users: None costs as much as the costliest. Raises BusyError.
        """
        with self._place():
            return _matches(password[: LONGEST + 1], hash_ or _decoy(others)) and hash_ is not None

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=self._patience_seconds):
            raise BusyError("too many passwords are being checked")
        try:
            yield
        finally:
            self._places.release()


def _matches(password: str, hash_: str) -> bool:
    try:
        # Bytes, so that a lone surrogate of a browser is a wrong password and no error.
        return _HASHER.verify(hash_, password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False


def _decoy(others: Iterable[str]) -> str:
    """Make a hash that nothing matches, as costly to check as the costliest of the others."""
    found = max((extract_parameters(each) for each in others), key=_cost, default=None)
    cost = (found.memory_cost, found.time_cost, found.parallelism) if found else (19 * 1024, 2, 1)
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return "$argon2id$v=19$m={},t={},p={}${}${}".format(*cost, salt, digest)


def _cost(found: Parameters) -> int:
    return found.memory_cost * found.time_cost


def table(name: str, role: str, hash_: str) -> str:
    """Give a user as a table of the configuration."""
    return f'\n[users.{name}]\npassword = "{hash_}"\nrole = "{role}"\n'

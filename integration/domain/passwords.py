"""Argon2id hashes of the passwords of dashboard users."""

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
    'an argon2id hash as `ringback user NAME` prints it, "$argon2id$…", '
    "with at most 256 MiB, 10 rounds and parallelism 16"
)
_MOST_KIB: Final = 256 * 1024
_MOST_ROUNDS: Final = 10
_MOST_PARALLELISM: Final = 16
# OWASP's first choice for argon2id: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class BusyError(RingbackError):
    """Too many passwords are being verified. The caller may try again after some seconds."""


def hashed(password: str) -> str:
    """Return the argon2id hash of a password.

    Raise ValueError if the password is shorter than SHORTEST or longer than LONGEST.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(PASSWORD_WORDS)
    return _HASHER.hash(password)


def is_sound(text: str) -> bool:
    """Return True if a text is an argon2id hash with accepted memory, rounds and parallelism."""
    try:
        parameters = extract_parameters(text)
    except InvalidHashError:
        return False
    bounded = parameters.memory_cost <= _MOST_KIB and parameters.time_cost <= _MOST_ROUNDS
    return parameters.type is Type.ID and bounded and parameters.parallelism <= _MOST_PARALLELISM


class Verifier:
    """Verifies passwords, at most `at_once` at a time, because each verification needs much memory.

    Further calls wait for up to `patience_seconds` and then raise BusyError.
    """

    def __init__(self, *, at_once: int = 2, patience_seconds: float = 2.0) -> None:
        self._places = threading.BoundedSemaphore(at_once)
        self._patience_seconds = patience_seconds

    def right(self, password: str, hash_: str | None, others: Iterable[str]) -> bool:
        """Return True if `password` matches `hash_`. Raise BusyError after `patience_seconds` of waiting.

        With `hash_=None` (unknown user) a dummy hash is verified, so that the time does not reveal which
        users exist. The dummy hash costs as much as the most expensive hash in `others`, the hashes of
        all users.
        """
        with self._place():
            return _matches(password[: LONGEST + 1], hash_ or _decoy(others)) and hash_ is not None

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=self._patience_seconds):
            raise BusyError("Too many passwords are being verified. Try again in a few seconds.")
        try:
            yield
        finally:
            self._places.release()


def _matches(password: str, hash_: str) -> bool:
    try:
        # A lone surrogate from a browser makes the password wrong, and raises no UnicodeEncodeError.
        return _HASHER.verify(hash_, password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False


def _decoy(others: Iterable[str]) -> str:
    """Return a random hash that costs as much as the most expensive of `others`."""
    highest = max((extract_parameters(each) for each in others), key=_cost, default=None)
    cost = (highest.memory_cost, highest.time_cost, highest.parallelism) if highest else (19 * 1024, 2, 1)
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return "$argon2id$v=19$m={},t={},p={}${}${}".format(*cost, salt, digest)


def _cost(parameters: Parameters) -> int:
    return parameters.memory_cost * parameters.time_cost


def table(name: str, role: str, hash_: str) -> str:
    """Return the `[users.NAME]` table of a user as TOML."""
    return f'\n[users.{name}]\npassword = "{hash_}"\nrole = "{role}"\n'

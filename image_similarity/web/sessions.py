"""Who may use the page: one key that opens it, and the sessions that it opened."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network

from image_similarity.reports.text import visible

# Of an examiner's name, in characters.
LONGEST_NAME = 100
# More would be no analyst but a program that should use the key itself.
_MOST = 1000
# Wrong passwords that are a person's slips; each one more doubles the pause, in seconds, up to the longest.
_SLIPS = 5
_LONGEST = 300
# After which a sender's wrong passwords are forgotten, in seconds.
_FORGOTTEN = 3600


class TooManyTries(Exception):
    """A sender of wrong passwords must wait before the next one is looked at, right or wrong."""

    def __init__(self, seconds: int) -> None:
        super().__init__("there were too many wrong passwords")
        self.seconds = seconds


@dataclass(slots=True)
class Session:
    """One browser, or a program with the key: what it must send with every change, and whose name decisions carry."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    examiner: str = ""


class Sessions:
    """The key of this page, and who came in with it; gone when the page is closed.

    Attributes:
        key: The password, or a token that is made anew each time the page is opened.
        is_password: Whether people chose it: it must not stand in a link then, and can be guessed.
    """

    def __init__(
        self,
        password: str | None = None,
        examiner: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key = password or secrets.token_urlsafe(32)
        self.is_password = password is not None
        # What is said of a case may be of several lines, and longer than a name in the audit chain.
        self._examiner = " ".join(visible(examiner).split())[:LONGEST_NAME]
        self._open: dict[str, Session] = {}
        self._tickets: set[str] = set()
        # A program that sends the key with every request.
        self._program = Session(examiner=self._examiner)
        self._wrong = _Wrong(clock)
        self._lock = threading.Lock()

    def ticket(self) -> str:
        """Give a key that opens one session and is none afterwards, for a link that others on the machine may see."""
        made = secrets.token_urlsafe(32)
        with self._lock:
            self._tickets.add(made)
        return made

    def opened_by(self, key: str, sender: str = "") -> Session | None:
        """Open a session for whoever has the key, or a ticket; None for all others.

        Raises:
            TooManyTries: The sender guesses.
        """
        with self._lock:
            if key in self._tickets:
                self._tickets.remove(key)
            elif not self._is_key(key, sender):
                return None
            session = Session(examiner=self._examiner)
            while len(self._open) >= _MOST:
                self._open.pop(next(iter(self._open)))
            self._open[session.id] = session
        return session

    def of_cookie(self, cookie: str) -> Session | None:
        """The session that a browser's cookie names."""
        with self._lock:
            return self._open.get(cookie)

    def of_program(self, key: str, sender: str = "") -> Session | None:
        """The session of programs that send the key itself.

        Raises:
            TooManyTries: The sender guesses.
        """
        with self._lock:
            return self._program if self._is_key(key, sender) else None

    def close(self, session: Session) -> None:
        """End a session."""
        with self._lock:
            self._open.pop(session.id, None)

    def _is_key(self, key: str, sender: str) -> bool:
        # A token of 256 bits cannot be guessed, and one that is outdated is no attack.
        if self.is_password:
            self._wrong.check(sender)
        is_key = hmac.compare_digest(key.encode("utf-8", "replace"), self.key.encode())
        if self.is_password and not is_key:
            self._wrong.add(sender)
        return is_key


class _Wrong:
    """Wrong passwords by sender: after a few slips each makes the next try wait longer."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # How many, and the time of the last one.
        self._of: dict[str, tuple[int, float]] = {}

    def check(self, sender: str) -> None:
        """Refuse a try that comes too early.

        Raises:
            TooManyTries.
        """
        count, last = self._of.get(_network(sender), (0, 0.0))
        if count < _SLIPS:
            return
        pause = last + min(_LONGEST, 2 ** (count - _SLIPS)) - self._clock()
        if pause > 0:
            raise TooManyTries(int(pause) + 1)

    def add(self, sender: str) -> None:
        """Count a wrong one."""
        now, name = self._clock(), _network(sender)
        self._of = {each: told for each, told in self._of.items() if now - told[1] < _FORGOTTEN}
        self._of[name] = (self._of.get(name, (0, 0.0))[0] + 1, now)


def _network(sender: str) -> str:
    """Who counts as one sender: an address, or with IPv6 the network in which one machine may have any."""
    try:
        address = ip_address(sender)
    except ValueError:
        return sender
    if isinstance(address, IPv6Address) and not address.ipv4_mapped:
        return str(ip_network((address, 64), strict=False))
    return str(address)

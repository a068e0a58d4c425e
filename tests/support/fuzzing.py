"""What the fuzzing tests share: how many examples, how bytes go bad, how long an answer may take.

In `make test-all` each has a moment; `make fuzz SECONDS=… SEED=…` runs them round after round, each with other
examples. What fails prints a blob that replays it, and `make fuzz` the seed of the round.
"""

from __future__ import annotations

import contextlib
import time

from hypothesis import settings
from hypothesis import strategies as st


def examples(number: int) -> settings:
    """Try so many examples in a round."""
    return settings(max_examples=number)


@contextlib.contextmanager
def bounded(seconds: float = 5.0):
    """Fail when this thread has worked for longer; what others do on this machine does not count."""
    begun = time.thread_time()
    yield
    spent = time.thread_time() - begun
    assert spent < seconds, f"it took {spent:.1f} s of work"


# What has broken readers before, in any place of any text.
NASTY = (
    *(
        b"\x00",
        b"\xff",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xf4\x90\x80\x80",
        b"\r\n",
        b"\x1b[2J",
    ),
    *(
        b"\\u0000",
        b"\\ud800",
        b"%00",
        b"%",
        b"%ff",
        b"&",
        b"=",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"'",
        b",",
        b":",
    ),
    *(b"<", b">", b"<!--", b"]]>", b"<?x ?>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&#0;", b"&#x41;"),
    *(
        b"1e999",
        b"-0",
        b"9" * 40,
        b"NaN",
        b"null",
        b"true",
        b"\xe2\x80\xae",
        b"\xf0\x9f\x92\xa9",
        b"{{ 7*7 }}",
    ),
)


@st.composite
def gone_bad(draw, original: bytes) -> bytes:
    """The bytes with one to three things wrong with them; never the bytes themselves."""
    made = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(made)))
        end = min(len(made), at + draw(st.integers(1, 8)))
        if (wrong := draw(st.integers(0, 4))) == 0 and made:
            made[at % len(made)] ^= 1 << draw(st.integers(0, 7))
        elif wrong == 1:
            del made[at:end]
        elif wrong == 2:
            made[at:at] = draw(st.sampled_from(NASTY) | st.binary(min_size=1, max_size=4))
        elif wrong == 3:
            made[at:end] = draw(st.sampled_from(NASTY))
        else:
            made += made[at : at + draw(st.integers(1, 200))] or b"\n"
    return bytes(made) if made != original else original + b" "

"""What shall go wrong, and when: made of a seed alone, so the same seed plans the same faults again.

When exactly each of them hits is up to the machine; the plan is what can be replayed. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

WEBS, WORKERS, STORE, FILE = ("web0", "web1"), ("worker0", "worker1"), "store", "ringback.toml"

FREEZE_SECONDS = (0.3, 4.0)
OUTAGE_SECONDS = (0.3, 4.0)
# Longer than any sender may be kept waiting: what hangs with the store is seen to hang.
LONG_OUTAGE_SECONDS = (7.0, 10.0)
RULE_SECONDS = 3.0
DOWN_SECONDS = (0.0, 2.5)
# A file that stays as it is for so long is read, half of the time.
FILE_SECONDS = (0.3, 5.0)
# Longer than the time in which Ringback notices it, on a busy machine and over a line that is cut off.
UNSAFE_SECONDS = 95.0

_SEVERAL = "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`kind` befalls `target` `at` seconds after the start and is over `seconds` later."""

    at: float
    kind: str
    target: str
    seconds: float = 0.0
    rule: dict[str, Any] = field(default_factory=dict)


def faults(
    seed: int, seconds: float, accounts: int, longest_work: float, *, restores: bool = False
) -> tuple[Fault, ...]:
    """Plan a run. `longest_work` is how long wolkvox may work on one call, in seconds.

    With `restores` an old copy of the store is put back again and again, and its settings stay.
    """
    rng = Random(f"faults {seed}")
    planned = [*_blows(rng, seconds), *_rules(rng, seconds, accounts, longest_work)]
    planned += _hangs(Random(f"hangs {seed}"), seconds)
    planned += _files(Random(f"files {seed}"), seconds)
    if restores:
        planned += _restores(Random(f"restores {seed}"), seconds)
    else:
        planned += _unsafe_settings(Random(f"settings {seed}"), seconds)
    return tuple(sorted(planned, key=lambda fault: fault.at))


def _blows(rng: Random, seconds: float) -> list[Fault]:
    found, at = [], 1.0
    while at < seconds:
        found.append(_blow(rng, round(at, 3)))
        at += rng.uniform(0.3, 1.8)
    return found


def _blow(rng: Random, at: float) -> Fault:
    kind = rng.choices(
        ("kill", "kill child", "freeze", "wake_ups", "cut", "hold", "slow", "full"),
        (44, 4, 18, 6, 7, 7, 7, 7),
    )[0]
    if kind == "kill":
        target = rng.choice((*WEBS, *WORKERS, *WORKERS, STORE, STORE))
        return Fault(at=at, kind=kind, target=target, seconds=rng.uniform(*DOWN_SECONDS))
    if kind == "kill child":
        return Fault(at=at, kind=kind, target=rng.choice(WEBS))
    if kind == "freeze":
        target = rng.choice((*WEBS, *WORKERS, *WORKERS, STORE))
        return Fault(at=at, kind=kind, target=target, seconds=rng.uniform(*FREEZE_SECONDS))
    if kind in {"cut", "hold", "slow"}:
        target = rng.choice(("webs", "workers"))
        span = LONG_OUTAGE_SECONDS if rng.random() < 0.25 else OUTAGE_SECONDS
        return Fault(at=at, kind=kind, target=target, seconds=rng.uniform(*span))
    return Fault(at=at, kind=kind, target=STORE, seconds=rng.uniform(0.2, 2.0))


def _restores(rng: Random, seconds: float) -> list[Fault]:
    found, at = [], 2.0
    while at < seconds:
        found.append(Fault(at=at, kind="copy", target=STORE))
        at += rng.uniform(1.0, 5.0)
        found.append(Fault(at=at, kind="restore", target=STORE, seconds=rng.uniform(0.0, 0.3)))
        at += rng.uniform(3.0, 10.0)
    return found


def _hangs(rng: Random, seconds: float) -> list[Fault]:
    """Stop a process and never let it go on: a web's main process, one of its web processes, or a worker."""
    found, at = [], rng.uniform(2.0, 6.0)
    while at < seconds:
        kind = rng.choice(("hang", "hang child"))
        target = rng.choice(WEBS if kind == "hang child" else (*WEBS, *WORKERS))
        found.append(Fault(at=at, kind=kind, target=target))
        at += rng.uniform(12.0, 25.0)
    return found


def _files(rng: Random, seconds: float) -> list[Fault]:
    found, at = [], rng.uniform(1.0, 3.0)
    while at < seconds:
        how = rng.choice(("rewrite", "half written", "cut before the routes", "cut off", "empty", "delete"))
        fault = Fault(
            at=at,
            kind="file",
            target=FILE,
            seconds=rng.uniform(*FILE_SECONDS),
            rule={"how": how, "share": rng.random()},
        )
        found.append(fault)
        at += fault.seconds + rng.uniform(1.0, 8.0)
    return found


def _unsafe_settings(rng: Random, seconds: float) -> list[Fault]:
    found, at = [], rng.uniform(5.0, 20.0)
    while at + UNSAFE_SECONDS < seconds:
        found.append(Fault(at=at, kind="unsafe", target=STORE, seconds=UNSAFE_SECONDS))
        at += UNSAFE_SECONDS + rng.uniform(60.0, 120.0)
    return found


def _rules(rng: Random, seconds: float, accounts: int, longest_work: float) -> list[Fault]:
    found, at = [], 0.5
    while at < seconds:
        rule = _rule(rng, longest_work)
        target = f"a{rng.randrange(accounts)}"
        found.append(Fault(at=round(at, 3), kind="rule", target=target, seconds=RULE_SECONDS, rule=rule))
        at += rng.uniform(0.2, 1.2)
    return found


def _rule(rng: Random, longest: float) -> dict[str, Any]:
    """Make a fault of wolkvox. None works longer on a call than `longest`: that is what P2 stands on."""
    work = round(rng.uniform(0.0, longest), 3)
    shapes: tuple[dict[str, Any], ...] = (
        {"action": "delay", "seconds": work},
        {"action": "delay", "seconds": longest},
        # About 250 bytes: dripping to the end takes as long as the longest work.
        {"action": "drip", "interval": round(longest / 260, 4)},
        {"action": "hang", "seconds": max(0.1, work)},
        {"action": "drop", "when": "after", "seconds": longest},
        {"action": "reset", "when": "after", "seconds": work, "after_bytes": rng.choice((0, 40))},
        {"action": "reset", "when": "before"},
        {"action": "html", "status": rng.choice((200, 202, 502, 503)), "seconds": work / 2},
        {"action": "answer", "status": 500, "code": 500, "msg": "INTERNAL ERROR"},
        {"action": "answer", "status": 200, "code": 500, "msg": "INTERNAL ERROR"},
        {"action": "answer", "status": 403, "code": 403, "msg": _SEVERAL},
        {"action": "answer", "status": 400, "code": 400, "msg": "SOME PARAMETERS ARE REQUIRED"},
        {"action": "redirect"},
    )
    rule = rng.choices(shapes, (6, 6, 3, 3, 6, 6, 2, 3, 2, 1, 1, 2, 1))[0]
    return {**rule, "times": rng.choice((1, 1, 2))}

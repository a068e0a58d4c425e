"""What is shown of a customer until somebody reveals it: its last two characters. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from integration.render import mask_numbers

if TYPE_CHECKING:
    from integration.recall import Recall

DOTS: Final = "••••"
_SHOWN: Final = 2
_SHORTEST: Final = 5
_SHORTEST_NAME: Final = 3


def masked(text: str) -> str:
    """Mask a telephone, a customer's id or anything else that tells who somebody is."""
    plain = text.strip()
    return f"{DOTS} {plain[-_SHOWN:]}" if len(plain) >= _SHORTEST else DOTS


def without_names(recall: Recall, text: str | None) -> str:
    """Give words about a recall, which may repeat who the customer is, with that masked."""
    words = text or ""
    for name in (recall.recall_telephone, recall.customer_id):
        if len(name) >= _SHORTEST_NAME:
            words = words.replace(name, masked(name))
    return mask_numbers(words)

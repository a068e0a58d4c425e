"""When a callback may be made: the calling hours, the holidays, and the rules that move its date. Pure."""

from integration.domain.schedule.openings import is_open, next_opening, open_time
from integration.domain.schedule.rules import Drop, Scheduled, apply, read_date

__all__ = ["Drop", "Scheduled", "apply", "is_open", "next_opening", "open_time", "read_date"]

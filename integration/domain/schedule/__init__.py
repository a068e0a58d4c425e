"""The dates of callbacks: calling hours, holidays, and the rules that move a date. Pure."""

from integration.domain.schedule.openings import is_open, next_opening, open_time
from integration.domain.schedule.rules import Drop, Scheduled, read_date, reschedule

__all__ = ["Drop", "Scheduled", "is_open", "next_opening", "open_time", "read_date", "reschedule"]

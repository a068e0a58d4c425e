from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain import timestamps

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=OFFSETS)


@given(MOMENTS)
def test_a_moment_comes_back_from_epoch_times_and_text(moment):
    ms = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert timestamps.from_epoch_ms(timestamps.epoch_ms(ms)) == ms
    assert timestamps.from_epoch_ms(str(timestamps.epoch_ms(ms))) == ms
    assert timestamps.from_iso(timestamps.iso_milliseconds(ms)) == ms
    second = moment.replace(microsecond=0)
    assert timestamps.from_epoch_seconds(timestamps.epoch_seconds(second)) == second
    assert timestamps.from_iso(timestamps.iso_seconds(second)) == second
    assert timestamps.from_iso(timestamps.iso_seconds(second)).utcoffset() == moment.utcoffset()


@pytest.mark.parametrize(
    "convert",
    [timestamps.epoch_ms, timestamps.epoch_seconds, timestamps.iso_seconds, timestamps.iso_milliseconds],
)
def test_a_moment_without_a_zone_is_refused(convert):
    with pytest.raises(ValueError, match="naive datetime"):
        convert(datetime(2030, 1, 1))


def test_a_text_without_an_offset_is_refused_unless_somebody_typed_it_on_a_known_clock():
    with pytest.raises(ValueError, match="naive datetime"):
        timestamps.from_iso("2030-01-01T10:00")
    bogota = ZoneInfo("America/Bogota")
    assert timestamps.read_iso("2030-01-01T10:00", bogota) == datetime(2030, 1, 1, 15, tzinfo=UTC)
    assert timestamps.read_iso("2030-01-01T10:00Z", bogota) == datetime(2030, 1, 1, 10, tzinfo=UTC)
    assert timestamps.read_iso("tomorrow", bogota) is None

"""The filters of dates, and dates that cannot be read."""

from __future__ import annotations

import pytest

from integration.domain.errors import UnmappableError
from integration.mapping.expressions import (
    TemplateFaultError,
    text,
)
from support.expression_cases import NOW, render


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("{{ '03/01/2026 10:30 PM' | date('%d/%m/%Y %I:%M %p') }}", "2026-01-03T22:30:00"),
        ("{{ '03/01/2026 10:30 p. m.' | date('%d/%m/%Y %I:%M %p') }}", "2026-01-03T22:30:00"),
        ("{{ '03/01/2026 10:30a.m.' | date('%d/%m/%Y %I:%M %p') }}", "2026-01-03T10:30:00"),
        ("{{ 20260301 | date('%Y%m%d') }}", "2026-03-01"),
        ("{{ '1772323200000' | day }}", "2026-03-01"),
        ("{{ '2026-03-01T00:00:00Z' | day }}", "2026-03-01"),
        ("{{ '2026-03-01' | day }}", "2026-03-01"),
        ("{{ '2026-03-01T10:00:00Z' | zone('America/Bogota') }}", "2026-03-01T05:00:00-05:00"),
        ("{{ '2026-03-01 10:00' | zone('America/Bogota') }}", "2026-03-01T10:00:00-05:00"),
        (
            "{{ '2026-03-07T12:00:00-05:00' | zone('America/New_York') | plus(days=1) }}",
            "2026-03-08T12:00:00-04:00",
        ),
        ("{{ '2026-03-08 01:30' | zone('America/New_York') | plus(hours=1) }}", "2026-03-08T03:30:00-04:00"),
        ("{{ '2026-03-01' | plus(days=2) }}", "2026-03-03"),
    ],
)
def test_date_filters(source, made):
    assert render(source) == made


@pytest.mark.parametrize(
    "hole",
    [
        "'31/02/2026' | date('%d/%m/%Y')",
        "'2026-03-01' | date('%d/%m/%Y')",
        "'2026-03-01T05:00:00Z' | day",
        "'1772323200001' | day",
        "'soon' | day",
        "'2026-03-01' | zone('UTC')",
        "'2026-03-01' | plus(hours=1)",
        "'x' | date(event.a)",
        "'10/03/2026 10:00' | date('%d/%m/%Y ' ~ '%I:%M')",
        "now | zone('Amer' ~ 'ica')",
        "now | zone(event.a)",
        "event.missing | date('%d/%m/%Y')",
        "true | day",
    ],
)
def test_dates_that_cannot_be_read_are_unmappable(hole):
    with pytest.raises(UnmappableError):
        render(f"{{{{ {hole} }}}}", now=NOW)


@pytest.mark.parametrize(
    "form",
    [
        *("%d/%m", "%q", "%", "%d/%m/%Y %I:%M", "%d/%m/%Y %Z", "%Y-%d", "text"),
        *("%d/%m/%Y %H:%M %p", "%Y-%m-%d %H:%M:%S %p", "%p %H:%M %d/%m/%y", "%B %d, %Y %H:%M%p"),
    ],
)
def test_a_format_that_cannot_be_used_is_a_fault_of_the_configuration(form):
    with pytest.raises(TemplateFaultError, match="a format"):
        text(f"{{{{ event.when | date('{form}') }}}}")


def test_a_zone_that_does_not_exist_is_a_fault_of_the_configuration():
    with pytest.raises(TemplateFaultError, match="IANA"):
        text("{{ event.when | zone('America/Bogotá') }}")

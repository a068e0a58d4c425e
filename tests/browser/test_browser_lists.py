"""The lists in a real browser: no column is clipped or hidden, no field covers another."""

from __future__ import annotations

import pytest

from browser.system import soon

SIZES = {
    "phone": {"width": 390, "height": 844},
    "laptop": {"width": 1366, "height": 768},
    "desktop": {"width": 1920, "height": 1080},
}
LISTS = ("/recalls", "/deliveries", "/deliveries?result=refused", "/accounts", "/sources")
LOCALES = ("en-GB", "es-CO")

# Per table: what is wider than its frame, what is hidden, and what covers its neighbour.
MEASURE = """
() => [...document.querySelectorAll("#content table.rows")].flatMap((table) => {
  const frame = table.closest(".scroll");
  const faults = [];
  if (frame.scrollWidth > frame.clientWidth) faults.push(`clipped: ${frame.scrollWidth} in ${frame.clientWidth}`);
  const outer = frame.getBoundingClientRect();
  for (const head of table.tHead.rows[0].cells) {
    if (innerWidth > 760 && head.scrollWidth > head.clientWidth + 1) faults.push(`cut off: the head ${head.innerText}`);
  }
  for (const row of table.tBodies[0].rows) {
    const boxes = [...row.cells].filter((cell) => !cell.matches(".none")).map((cell) => {
      const box = cell.getBoundingClientRect();
      const name = cell.dataset.name;
      if (!cell.checkVisibility() || !box.width || !box.height) faults.push(`hidden: ${name}`);
      if (innerWidth > 760 && !cell.matches(".cut") && cell.scrollWidth > cell.clientWidth + 1) faults.push(`cut off: ${name}: ${cell.innerText} ${cell.scrollWidth} in ${cell.clientWidth}`);
      if (box.left < outer.left - 1 || box.right > outer.right + 1) faults.push(`outside: ${name}`);
      return { name, box };
    });
    for (const [at, one] of boxes.entries()) {
      for (const other of boxes.slice(at + 1)) {
        const wide = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
        const high = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
        if (wide > 1 && high > 1) faults.push(`overlap: ${one.name}, ${other.name}`);
      }
    }
  }
  return [...new Set(faults)];
})
"""


@pytest.fixture(scope="module")
def long_texts(system):
    """Recalls in several states, with texts that are longer than their columns."""
    system.api("POST", "/v1/accounts/lima/pause", json={"reason": "the campaign is being changed"})
    for hours in (2, 26):
        latest = system.ask(
            "a-customer-with-a-very-long-id", "lima", at=soon(hours=hours), campaign="a-long-campaign"
        )
    system.await_state(system.ask("late", "expiring", at=soon(days=-1)), "expired")
    system.api("POST", f"/v1/recalls/{latest}/cancel", json={})
    yield
    system.api("POST", "/v1/accounts/lima/resume", json={})


@pytest.mark.smoke
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_no_list_clips_hides_or_overlaps_a_column(someone, long_texts, size, locale):
    guest = someone("olga", size=size, locale=locale)
    faults = {}
    for path in LISTS:
        guest.go(path)
        assert guest.page.locator("#content table.rows tbody tr").count() > 0, path
        if found := guest.page.evaluate(MEASURE):
            faults[path] = found
    assert not faults, faults

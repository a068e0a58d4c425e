"""Takes a picture of every page, on a phone and on a services, light and dark, into docs/screenshots/.

    cd tests && python -m browser.screenshots [PART-OF-A-NAME …]     only pages with such a name

Small WebP files; look at them before they are kept.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "docs" / "screenshots"
QUALITY = 55
TALLEST = 1900
SCHEMES = ("light", "dark")
SHOWN = (("desktop", "light"), ("desktop", "dark"), ("phone", "light"), ("phone", "dark"))


def taken(page, file, width):
    """Take the whole page, cut at a height, as WebP."""
    height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    page.set_viewport_size({"width": width, "height": max(height, 600)})
    page.wait_for_timeout(150)
    session = page.context.new_cdp_session(page)
    shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    file.write_bytes(base64.b64decode(shot["data"]))
    session.detach()


def written(names):
    """Write the page that shows them all."""
    lines = [
        "# The dashboard's pages",
        "",
        "Taken by `make screenshots` on a store with made-up customers.",
        "",
    ]
    for name in names:
        shown = [f"![{name}, {device}, {scheme}]({name}-{device}-{scheme}.webp)" for device, scheme in SHOWN]
        lines += [f"## {name.capitalize()}", "", *shown, ""]
    (FOLDER / "README.md").write_text("\n".join(lines), "utf-8")


def main(wanted):
    """Take them all."""
    from browser.chromium import DESKTOP, PHONE, find_chromium, launched, visit
    from browser.pages import fill_store, pages_of
    from browser.system import PASSWORD, running_system
    from support.valkey import DURABLE, ValkeyServer

    executable = find_chromium()
    if executable is None:
        raise SystemExit("no Chromium here: apt install chromium, or set CHROMIUM to the path of a Chrome")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = ValkeyServer(Path(folder), DURABLE)
        server.start()
        try:
            with running_system(Path(folder), server.url) as system, launched(executable) as browser:
                fill_store(system)
                first = visit(browser, system.url).sign_in("ada", PASSWORD)
                state = first.context.storage_state()
                addresses = pages_of(first)
                first.context.close()
                for size, device in ((DESKTOP, "desktop"), (PHONE, "phone")):
                    for scheme in SCHEMES:
                        guest = visit(browser, system.url, size=size, scheme=scheme, state=state)
                        for name, (path, act) in addresses.items():
                            if wanted and not any(word in name for word in wanted):
                                continue
                            guest.page.set_viewport_size(size)
                            guest.go(path)
                            act(guest.page)
                            taken(guest.page, FOLDER / f"{name}-{device}-{scheme}.webp", size["width"])
                        guest.context.close()
        finally:
            server.stop()
    written(sorted({file.stem.partition("-")[0] for file in FOLDER.glob("*.webp")}))


if __name__ == "__main__":
    main(sys.argv[1:])

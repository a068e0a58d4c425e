"""The operator's dashboard at `/`: pages for people, drawn by the server, live by polling.

How a page is added
1. A module here, `recalls.py`, with views and their addresses. A view takes the services and the parts of its
   address, and is marked with who may see it; an unmarked one does not start:

       @signed_in                                     # everybody with a role; numbers stay masked
       def recalls(services: Services) -> Response:
           return page("recalls.html", found=…, zone=zone_of(services.config))

       @role("operator")                              # or "admin"
       def retry_recall(services: Services, recall_id: str) -> ResponseReturnValue:
           services.recalls.retry(recall_id, …)                   # what it raises is answered by `failures`
           say(_("Queued again."))                    # shown at the top of what is answered next
           return back_to(url_for("dashboard.recall", recall_id=recall_id))

       VIEWS = (
           ("GET /recalls", recalls),
           ("POST /recalls/<recall_id>/retry", retry_recall),
       )

   The endpoint is `dashboard.` and the view's name. Add the module to PAGES in `blueprint`. The entry of
   the navigation is there already and shows as soon as a view of its name exists.
2. A template: `{% extends layout %}`, `{% import "ui.html" as ui with context %}`, blocks `title` and
   `content`. `ui.html` has the parts: states, tiles, tables, key and value, time line, plots, filters,
   pager, masks, buttons that ask first, empty pages. A browser gets the whole frame, htmx the content.
3. What shall stay live: `{% call ui.live("found") %}…{% endcall %}`; it is fetched again from the page's own
   address every few seconds while the tab is seen. Whatever has an `id` keeps its focus and its state.
4. Texts: English in the templates as `{{ _("…") }}`, in Python `gettext as _`. Spanish in
   `translations/es/PAGE.po`; the test of the language names what is missing or no longer used.
5. Values of customers: `{{ ui.hidden(text, reveal_url) }}`. The view at that address is `@role("operator")`,
   answers `page("revealed.html", text=…)`. What an operator does is noted: `note(services, "reveal", id)`.
6. Rules that the browser enforces (headers.py): no inline script, no `style=`, no `hx-on`, no `hx-vals`
   with js, no trigger filters `[…]`. Colours and sizes are classes of static/ringback.css.

Never imports the workers: what it needs of them is reached through the services.
"""

from integration.dashboard.blueprint import install

__all__ = ["install"]

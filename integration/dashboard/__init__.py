"""The operator's dashboard at `/`: server-rendered pages that refresh by polling.

How to add a page
1. Add a module to `views/`, for example `views/recalls.py`. A view takes the services and the parameters of
   its path. A decorator from `auth.roles` states the required role; a view without one fails at startup:

       @signed_in                                     # any role; telephone numbers stay masked
       def recalls(services: Services) -> Response:
           return page("recalls.html", found=…, zone=zone_of(services.config))

       @role("operator")                              # or "admin"
       def retry_recall(services: Services, recall_id: str) -> ResponseReturnValue:
           services.recalls.retry(recall_id, …)                   # errors are shown by `error_pages`
           flash_message(_("The recall is queued again."))      # shown at the top of the next page
           return back_to(url_for("dashboard.recall", recall_id=recall_id))

       VIEWS = (
           ("GET /recalls", recalls),
           ("POST /recalls/<recall_id>/retry", retry_recall),
       )

   The endpoint is `dashboard.` plus the name of the view. Add the module to PAGES in `blueprint.py`, and an
   entry to ENTRIES in `navigation.py` if the page belongs in the navigation.
2. Put labels and formatted times into `presenting/`, and plots into `charts/`. Both return values for
   templates and build no responses.
3. Add a template: `{% extends layout %}`, `{% import "ui.html" as ui with context %}`, and the blocks `title`
   and `content`. `ui.html` has macros for states, tiles, tables, timelines, plots, filters, the pager, masked
   values and confirm buttons. A browser gets the whole frame, htmx only the content.
4. Wrap live content in `{% call ui.live("found") %}…{% endcall %}`. The content is fetched again from the
   address of the page every few seconds while the tab is visible. Elements with an `id` keep their focus
   and state.
5. Write texts in English: `{{ _("…") }}` in templates, `gettext as _` in Python. Spanish is in
   `translations/es/*.po`, Brazilian Portuguese in `translations/pt_BR/*.po`; `.ci/translations.py`, in
   `make check`, reports missing and unused entries.
6. Mask customer data with `{{ ui.hidden(text, reveal_url) }}`. The view at that address is
   `@role("operator")`, returns `page("revealed.html", text=…)` and calls `note(services, "reveal", id)`.
7. The Content Security Policy (`headers.py`) forbids inline scripts, `style=`, `hx-on`, `hx-vals` with js and
   trigger filters `[…]`. Colours and sizes are classes in static/ringback.css.

The dashboard never imports `workers`; it reaches the store through the services.
"""

from integration.dashboard.blueprint import install

__all__ = ["install"]

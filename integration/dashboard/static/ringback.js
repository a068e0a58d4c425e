// What pages do by themselves: renew what is live while the tab is seen, ask before an act, copy, light and
// dark. No page needs this file to be read or acted on; without it they are renewed by loading them.
"use strict";

(() => {
  const body = document.body;
  const pulses = document.querySelectorAll(".pulse");
  const everyMs = Number(body.dataset.pollSeconds || 5) * 1000;

  // --- live: one poll for all that asks for it, none while nobody looks ---
  let renewedAt = new Date();

  const isPoll = (event) => event.detail.requestConfig?.triggeringEvent?.type === "poll";

  function poll() {
    if (!document.hidden && document.querySelector("[data-live]")) htmx.trigger(body, "poll");
  }

  function showPulse(fresh) {
    const at = renewedAt.toLocaleTimeString(document.documentElement.lang);
    for (const pulse of pulses) {
      pulse.hidden = false;
      pulse.classList.toggle("stale", !fresh);
      pulse.textContent = fresh ? pulse.dataset.liveWords : `${pulse.dataset.staleWords} ${at}`;
    }
  }

  setInterval(poll, everyMs);
  document.addEventListener("visibilitychange", poll);
  if (document.querySelector("[data-live]")) showPulse(true);

  // The digest of what the latest poll of an address brought. The server answers 204 when it is still the same.
  const digests = new Map();

  body.addEventListener("htmx:configRequest", (event) => {
    const { triggeringEvent, headers, path } = event.detail;
    // The server must not take a tab that renews itself for a person at work.
    if (triggeringEvent?.type !== "poll") return;
    headers["X-Poll"] = "1";
    if (digests.has(path)) headers["X-Content-Digest"] = digests.get(path);
  });

  body.addEventListener("htmx:beforeRequest", (event) => {
    if (isPoll(event)) return;
    digests.clear();
    document.getElementById("said")?.replaceChildren();
  });

  body.addEventListener("htmx:beforeSwap", (event) => {
    // A poll that fails says so at its mark; it does not cover the page with words again and again.
    if (isPoll(event) && event.detail.xhr.status >= 400) event.detail.shouldSwap = false;
  });

  body.addEventListener("htmx:afterRequest", (event) => {
    if (!isPoll(event)) return;
    const { xhr, requestConfig, successful } = event.detail;
    if (successful && xhr.status === 200) digests.set(requestConfig.path, xhr.getResponseHeader("X-Content-Digest"));
    if (successful) renewedAt = new Date();
    showPulse(event.detail.successful);
  });

  // --- what is renewed keeps what a person opened or began to write ---
  body.addEventListener("input", (event) => event.target.closest("form")?.setAttribute("data-begun", ""));
  body.addEventListener("change", (event) => {
    if (!event.target.matches("[data-tick-all]")) return;
    for (const box of event.target.form.querySelectorAll("[name=chosen]")) box.checked = event.target.checked;
  });
  body.addEventListener("submit", (event) => event.target.removeAttribute("data-begun"));
  Idiomorph.defaults.ignoreActiveValue = true;
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (old) => !(old instanceof Element && old.hasAttribute("data-begun"));
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => !(name === "open" && node instanceof HTMLDetailsElement);

  // --- a form with data-keep survives a reload of its page, in this tab alone ---
  function keepForm(event) {
    const form = event.target.closest("form[data-keep]");
    if (!form) return;
    const fields = [...new FormData(form)].filter(([name]) => name !== "csrf_token");
    sessionStorage.setItem(`form:${form.dataset.keep}`, JSON.stringify(fields));
  }

  function restoreForm() {
    const form = document.querySelector("form[data-keep]");
    const kept = form && sessionStorage.getItem(`form:${form.dataset.keep}`);
    if (!kept) return;
    for (const [name, value] of JSON.parse(kept)) {
      const field = form.elements.namedItem(name);
      if (field && field.type !== "hidden") field.value = value;
    }
    form.dispatchEvent(new Event("input", { bubbles: true }));
  }

  body.addEventListener("input", keepForm);
  if (performance.getEntriesByType("navigation")[0]?.type === "reload") addEventListener("load", restoreForm);
  body.addEventListener("submit", (event) => { if (event.target.matches("[data-sign-out]")) sessionStorage.clear(); });

  // --- a wide table opens at its marked column ---
  for (const column of document.querySelectorAll("[data-scroll-here]")) {
    const frame = column.closest(".scroll");
    const fixed = column.parentElement.firstElementChild.offsetWidth;
    if (frame.scrollWidth > frame.clientWidth) frame.scrollLeft = column.offsetLeft - fixed;
  }

  // --- a double click acts on one element, also if its first click moves another one under the pointer ---
  let clicked = null;
  document.addEventListener("click", (event) => {
    const at = event.target.closest("button, a, summary, label, input, select");
    if (event.detail > 1 && at !== clicked) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    clicked = at;
  }, true);

  // --- ask before an act ---
  const ask = document.getElementById("ask");
  const [no, yes] = ask.querySelectorAll("button");
  let go = null;

  body.addEventListener("htmx:confirm", (event) => {
    const form = event.detail.elt;
    // A form with several buttons has a question for each.
    const { ask: words, yes: label } = { ...form.dataset, ...event.detail.triggeringEvent?.submitter?.dataset };
    if (!words) return;
    event.preventDefault();
    document.getElementById("ask-words").textContent = words;
    yes.textContent = label || yes.dataset.otherwise;
    yes.classList.toggle("danger", form.querySelector("button.danger") !== null);
    go = () => event.detail.issueRequest(true);
    ask.showModal();
    no.focus();
  });
  no.addEventListener("click", () => ask.close());
  yes.addEventListener("click", () => {
    const act = go;
    ask.close();
    if (act) act();
  });
  ask.addEventListener("close", () => { go = null; });

  // --- keys: "/" searches, arrows move through a list, "?" shows the keys ---
  const isTyping = (element) => element.matches("input, select, textarea");

  function focusSearch() {
    const fields = [...document.querySelectorAll("form.find input[type=search]")];
    const field = fields.find((each) => each.checkVisibility());
    // A phone has a link to the page of the search instead.
    if (!field) return document.querySelector(".find-link")?.click();
    field.focus();
    field.select();
  }

  // Move the focus to another row's first link: from the search box to the first row, from a row to its neighbour.
  function moveInList(event, step) {
    const focused = document.activeElement;
    const here = focused.closest("table.rows tbody tr");
    if (!here && !focused.closest("form.find")) return;
    const links = [...document.querySelectorAll("table.rows tbody tr")].map((row) => row.querySelector("a[href]")).filter(Boolean);
    const place = here ? links.findIndex((link) => here.contains(link)) : -1;
    const next = links[place + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  const ACTS = {
    "/": (event) => { event.preventDefault(); focusSearch(); },
    "?": () => document.getElementById("keys").showModal(),
  };

  body.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "ArrowDown") moveInList(event, 1);
    else if (event.key === "ArrowUp") moveInList(event, -1);
    else if (!isTyping(event.target)) ACTS[event.key]?.(event);
  });

  // --- copy, light and dark, the sheet of a phone ---
  async function copied(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    // Without https a browser has only this old way.
    const field = document.createElement("textarea");
    field.value = text;
    body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }

  function switchTheme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    document.cookie = `ringback_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
  }

  body.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      await copied(copy.dataset.copy);
      const words = copy.querySelector("span");
      const before = words.textContent;
      words.textContent = copy.dataset.copied;
      setTimeout(() => { words.textContent = before; }, 1500);
    }
    if (event.target.closest("[data-theme-switch]")) switchTheme();
    for (const sheet of document.querySelectorAll("details.more[open]")) {
      if (!sheet.contains(event.target)) sheet.open = false;
    }
  });
  body.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const sheet of document.querySelectorAll("details.more[open]")) {
      sheet.open = false;
      sheet.querySelector("summary").focus();
    }
  });
})();

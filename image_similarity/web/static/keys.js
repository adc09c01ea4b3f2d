// Single keys. They act while no field is being filled in, and can be turned off (WCAG 2.1.4).

import { dialog, el } from "./dom.js";
import { t } from "./texts.js";

const NAME = "image_similarity.keys";
const known = new Map();

function keysAreOn() {
  return localStorage.getItem(NAME) !== "off";
}

// Let a key do something; `shown` is what the list of keys calls it where it is not the key itself.
export function key(name, what, act, shown = name) {
  known.set(name, { what, act, shown });
}

// A line of the list for keys that a part of the page handles itself.
export function describe(shown, what) {
  known.set(`(${shown})`, { what, act: null, shown });
}

function isTyping(target) {
  return target.closest("input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]");
}

// The key as it is known here: with caps lock on, letters come in the other case.
function nameOf(event) {
  if (!/^[a-z]$/i.test(event.key)) return event.key;
  return event.shiftKey ? event.key.toUpperCase() : event.key.toLowerCase();
}

export function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || isTyping(event.target)) return;
    // A click beside an open dialog takes the focus out of it; what is behind must not be acted on.
    if (document.querySelector("dialog[open]")) return;
    const found = known.get(nameOf(event));
    if (!found?.act || (event.key !== "?" && !keysAreOn())) return;
    event.preventDefault();
    found.act(event);
  });
}

export function showKeys() {
  const on = el("input", { type: "checkbox", id: "keys-on" });
  on.checked = keysAreOn();
  on.addEventListener("change", () => localStorage.setItem(NAME, on.checked ? "on" : "off"));
  const rows = [...known.values()].map(({ shown, what }) => el("tr", {}, el("td", {}, el("kbd", {}, shown)), el("td", {}, what)));
  dialog(t("keys.title"), [
    el("p", {}, on, " ", el("label", { for: "keys-on" }, t("keys.single"))),
    el("table", {}, el("tbody", {}, rows)),
  ]);
}

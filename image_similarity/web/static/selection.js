// The selection: pictures that the examiner collects, kept in the browser for this case until it is cleared.

import { meta } from "./dom.js";
import { problem } from "./say.js";
import { t } from "./texts.js";

const NAME = `image_similarity.selection.${meta("case")}`;

function read() {
  try {
    return new Set(JSON.parse(localStorage.getItem(NAME) ?? "[]"));
  } catch {
    return new Set();
  }
}

let chosen = read();

function keep() {
  try {
    localStorage.setItem(NAME, JSON.stringify([...chosen]));
  } catch {
    // Some 70,000 pictures: what is shown must be what is kept.
    chosen = read();
    problem(t("selection.full"));
  }
  document.dispatchEvent(new CustomEvent("selection"));
}

// Another window of this case changed it.
addEventListener("storage", (event) => {
  if (event.key !== NAME) return;
  chosen = read();
  document.dispatchEvent(new CustomEvent("selection"));
});

// A page that was left and comes back by Back heard of no changes meanwhile.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  chosen = read();
  document.dispatchEvent(new CustomEvent("selection"));
});

// All of it, by SHA-256, in the order of choosing. "selection" on document tells of changes.
export const selected = () => [...chosen];
export const isSelected = (sha256) => chosen.has(sha256);

export function select(sha256s) {
  chosen = read();
  for (const each of sha256s) chosen.add(each);
  keep();
}

export function deselect(sha256s) {
  chosen = read();
  for (const each of sha256s) chosen.delete(each);
  keep();
}

export function toggle(sha256) {
  if (chosen.has(sha256)) deselect([sha256]);
  else select([sha256]);
  return chosen.has(sha256);
}

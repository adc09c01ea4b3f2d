// The page "selection": the pictures that were chosen, what was decided, and reports; see templates/selection.html.

import { send } from "./api.js";
import { decideBar } from "./decide.js";
import { el, part } from "./dom.js";
import { grid } from "./grid.js";
import { count } from "./numbers.js";
import { deselect, select, selected } from "./selection.js";
import { startDecisions } from "./selection-decisions.js";
import { startReports } from "./selection-reports.js";
import { t } from "./texts.js";

const PAGE = 100;
const words = (picture) => el("p", {}, el("bdi", {}, picture.place));
const list = grid({ label: t("selection.title"), words });
// What the grid stands for: a picture that is taken out stays there, to be put back, until the page is loaded anew.
let listed = [];
let unknown = [];
let removed = [];

async function load(start, all = listed) {
  const wanted = all.slice(start, start + PAGE);
  if (!wanted.length) return { pictures: [], more: null };
  const found = await send("POST", "/batches/pictures", { sha256s: wanted });
  // Another selection is listed by now.
  if (all !== listed) return { pictures: [], more: null };
  unknown = [...unknown, ...found.unknown];
  tellUnknown();
  const next = start + PAGE;
  return { pictures: found.items, more: next < listed.length ? () => load(next) : null };
}

// Never shown as if it were there: chosen in a case of the same name, or before the case was made anew.
function tellUnknown() {
  part("unknown").hidden = !unknown.length;
  part("unknown").replaceChildren(
    t("selection.unknown", { count: count(unknown.length) }), " ",
    el("button", { type: "button", onclick: takeUnknownOut }, t("selection.take_out")),
  );
}

function takeUnknownOut() {
  const those = unknown;
  unknown = [];
  tellUnknown();
  deselect(those);
}

async function show() {
  listed = selected();
  unknown = [];
  tellUnknown();
  const wanted = listed;
  const first = await load(0);
  if (wanted !== listed) return;
  list.show(first.pictures);
  list.more(first.more);
}

function tell() {
  const all = selected();
  part("chosen-number").textContent = t("selection.number", { count: count(all.length) });
  part("none").hidden = all.length > 0;
  part("clear").disabled = !all.length;
  part("restore").hidden = !removed.length;
  return all;
}

function changed() {
  const there = new Set(listed);
  if (tell().some((each) => !there.has(each))) show();
}

part("clear").addEventListener("click", () => {
  removed = selected();
  deselect(removed);
  list.show([]);
  listed = [];
  part("restore").focus();
});
part("restore").addEventListener("click", () => {
  const those = removed;
  removed = [];
  select(those);
  part("clear").focus();
});
document.addEventListener("selection", changed);
part("chosen").append(decideBar({ whole: true }), list.element);
tell();
startReports();
startDecisions();
await show();

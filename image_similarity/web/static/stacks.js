// The page "stacks"; see templates/stacks.html. What is chosen stands in the address.

import { get, query } from "./api.js";
import { current } from "./current.js";
import { decideBar } from "./decide.js";
import { el } from "./dom.js";
import { grid } from "./grid.js";
import { begin, isOver, jobPanel, latestJob } from "./jobs.js";
import { key } from "./keys.js";
import { count, size } from "./numbers.js";
import { poll } from "./poll.js";
import { problem, say } from "./say.js";
import { select } from "./selection.js";
import { t } from "./texts.js";

const BUSY = 1000;
const IDLE = 10_000;
const BOXES = ["near", "turned", "across"];

const asked = new URLSearchParams(location.search);
const boxes = Object.fromEntries(BOXES.map((name) => [name, document.getElementById(name)]));
const source = document.getElementById("source");
const list = document.getElementById("stacks");
const toldAbout = document.getElementById("told");
const more = document.getElementById("more");
const panel = jobPanel();
document.getElementById("work").append(panel.element);
document.getElementById("decide").append(decideBar());

let cursor = null;
let loading = null;
// Of the stacks on the page.
let standing = new AbortController();

function chosen() {
  const found = Object.fromEntries(BOXES.map((name) => [name, boxes[name].checked || ""]));
  return { ...found, source: source.value };
}

function words(stack) {
  return (picture) => [
    el("p", {}, el("bdi", {}, picture.place)),
    el("p", { class: "faint" }, t("stacks.dimensions", { width: picture.width, height: picture.height, size: size(picture.size) })),
    picture.live > 1 && el("p", { class: "faint" }, t("stacks.places", { count: count(picture.live) })),
    stack.kind === "near" && el("p", {}, apart(stack, picture)),
  ].filter(Boolean);
}

function apart(stack, picture) {
  if (picture.sha256 === stack.sha256s[0]) return t("stacks.first");
  const bits = t("stacks.bits", { bits: picture.distance });
  return picture.orientation && picture.orientation !== "as it is" ? `${bits}, ${picture.orientation}` : bits;
}

function heading(stack) {
  if (stack.kind === "identical") return t("stacks.identical", { places: count(stack.pictures[0].live) });
  return t("stacks.near_stack", { count: count(stack.sha256s.length), spread: stack.spread });
}

function places(stack) {
  const found = stack.pictures.flatMap((picture) => picture.found_at);
  const lines = found.map((place) => el("li", {}, el("bdi", {}, `${place.source}:${place.path}`)));
  const left = stack.pictures.reduce((all, picture) => all + picture.live - picture.found_at.length, 0);
  if (left) lines.push(el("li", { class: "faint" }, t("stacks.places_left", { count: count(left) })));
  // Of identical files the places are all there is to tell.
  return el("details", { open: stack.kind === "identical" }, el("summary", {}, t("stacks.all_places")), el("ul", {}, lines));
}

function shown(stack, limit) {
  const name = heading(stack);
  const tiles = grid({ label: name, words: words(stack), signal: standing.signal });
  tiles.show(stack.pictures);
  const left = stack.sha256s.length - stack.pictures.length;
  const choose = () => {
    select(stack.sha256s);
    say(t("stacks.selected", { count: count(stack.sha256s.length) }));
  };
  return el(
    "article",
    { class: "stack", "data-first": stack.sha256s[0] },
    el("header", {},
      el("h2", {}, name),
      el("span", { class: "faint" }, t("stacks.in_sources", { sources: stack.sources.join(", ") })),
      el("button", { type: "button", onclick: choose }, t("stacks.select"))),
    stack.spread > limit && el("p", { class: "faint" }, t("stacks.chain", { limit })),
    el("div", { class: `both ${stack.kind}` }, tiles.element, places(stack)),
    left > 0 && el("p", { class: "faint" }, t("stacks.left_out", { count: count(left) })),
  );
}

async function find() {
  const job = await begin("stacks", { turned: boxes.turned.checked });
  if (job) panel.show(job);
  await again();
}

function findButton(name) {
  return el("button", { type: "button", onclick: find }, t(name));
}

function tell(found) {
  const near = boxes.near.checked || boxes.turned.checked;
  const told = [el("p", {}, t(near ? "stacks.count" : "stacks.count_identical", { identical: count(found.identical), near: count(found.near), pictures: count(found.pictures) }))];
  if (!found.current) told.push(el("p", { class: "warning" }, t("stacks.outdated"), " ", findButton("stacks.again")));
  if (near && found.hashed < found.pictures) told.push(el("p", {}, t("stacks.hashed", { hashed: count(found.hashed), pictures: count(found.pictures) })));
  if (near && found.poor) told.push(el("p", { class: "faint" }, t("stacks.poor", { poor: count(found.poor) })));
  if (!found.total) told.push(el("p", {}, t("stacks.none")));
  toldAbout.replaceChildren(...told);
}

function clear() {
  standing.abort();
  standing = new AbortController();
  list.replaceChildren();
}

async function load(from = "") {
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  try {
    const found = await get("/stacks", { ...chosen(), cursor: from }, signal);
    if (!from) clear();
    list.append(...found.items.map((stack) => shown(stack, found.limit)));
    cursor = found.next;
    more.hidden = !cursor;
    tell(found);
  } catch (error) {
    if (error.name === "AbortError") return;
    const isToBeFound = error.code === "stacks_not_ready";
    if (!isToBeFound) problem(error);
    // What comes next was not listed; what is there stays.
    if (from) return;
    // Nothing of another choice may stand below these boxes.
    clear();
    more.hidden = true;
    toldAbout.replaceChildren(...(isToBeFound ? [el("p", {}, t("stacks.not_ready")), el("p", {}, findButton("stacks.find"))] : []));
  }
}

function changed() {
  // Turned ones are near ones, too.
  if (boxes.turned.checked) boxes.near.checked = true;
  history.replaceState(null, "", `${location.pathname}${query(chosen())}`);
  load();
}

function compare() {
  const target = current();
  const first = target?.closest("[data-first]")?.dataset.first;
  if (!first || target.dataset.sha256 === first) say(t("stacks.no_compare"));
  else location.assign(`/compare?query=${first}&hit=${target.dataset.sha256}`);
}

for (const name of BOXES) boxes[name].checked = ["1", "true"].includes(asked.get(name));
for (const each of (await get("/case")).sources) source.append(el("option", { value: each.name }, each.name));
source.value = asked.get("source") ?? "";
if (source.selectedIndex < 0) source.value = "";
document.getElementById("choices").addEventListener("change", changed);
document.getElementById("choices").addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => load(cursor));
key("c", t("stacks.compare"), compare);
await load();

let before = null;
const again = poll(async () => {
  const job = await latestJob();
  const mine = job?.kind === "stacks" ? job : null;
  panel.show(mine);
  // Found while we waited.
  if (before && !isOver(before) && mine?.state === "done") await load();
  before = mine;
  return isOver(mine) ? IDLE : BUSY;
});

// The page "library": everything that the case holds, by filters; see templates/library.html.

import { get, query } from "./api.js";
import { decideBar } from "./decide.js";
import { el, part } from "./dom.js";
import { facets } from "./facets.js";
import { grid } from "./grid.js";
import { chips, everything, FACETS, given, read, shownName } from "./library-filters.js";
import { words } from "./library-words.js";
import { count } from "./numbers.js";
import { problem, say } from "./say.js";
import { select } from "./selection.js";
import { t } from "./texts.js";
import { acceptDrops, searchWithFile } from "./upload.js";

const PAGE = 100;
// That "select all" selects, in pages as large as the server gives.
const MOST_SELECTED = 1000;
const LARGEST = 500;
// How far Back goes down the list again.
const MOST_RESTORED = 2000;
const PLACE = "image_similarity.library.place";

let choice = read(location.search);
let asked = new AbortController();
let total = 0;
const about = get("/case");

const list = grid({ label: t("library.grid"), words });
const counts = facets({
  groups: FACETS.map((name) => ({ name, title: t(`library.facet_${name}`), shown: (value) => shownName(name, value) })),
  change: (name, values) => change({ ...choice, [name]: values }),
});

function address(of) {
  return location.pathname + query({ ...given(of), order: of.order === "path" ? "" : of.order });
}

// Filter otherwise: a new entry of the history, so that Back leads to what was seen before.
function change(wanted) {
  choice = wanted;
  history.pushState(null, "", address(choice));
  show();
}

function drawChips() {
  const taken = chips(choice);
  const button = ({ words: told, less }) => el("button", { type: "button", "aria-label": t("library.take_away", { filter: told }), onclick: () => change(less) }, el("bdi", {}, told), el("span", { "aria-hidden": "true" }, " ×"));
  const all = taken.length > 1 ? [{ words: t("library.all_filters"), less: everything(choice) }] : [];
  part("chips").replaceChildren(...[...taken, ...all].map((each) => el("li", {}, button(each))));
}

function drawForm() {
  for (const name of ["under", "taken_from", "taken_to", "known", "order"]) part(name).value = choice[name];
  part("gone").checked = choice.gone === "true";
}

// What to say where nothing is listed: nothing meets the filters, nothing lies anywhere any more, or there is nothing.
async function reason() {
  if (chips(choice).length) return t("library.no_match");
  return t((await about).pictures ? "library.all_gone" : "library.empty");
}

function tellNone(words) {
  part("none").textContent = total ? "" : words;
  part("none").hidden = total > 0;
  part("select_all").disabled = !total;
}

// The pictures of a page, and what gives the next.
async function load(signal, limit = PAGE, cursor = "", of = choice) {
  const found = await get("/pictures", { ...given(of), order: of.order, limit, cursor }, signal);
  return { pictures: found.items, total: found.total, more: found.next && (() => load(signal, limit, found.next, of)) };
}

async function showCounts(signal) {
  const found = await get("/facets", given(choice), signal);
  counts.show(found, choice);
}

// On the way back from a picture: as far as one was, with the same picture in focus.
function keepPlace() {
  const kept = { address: location.search, listed: part("listed").querySelectorAll(".tile").length, sha256: list.focused()?.sha256 };
  sessionStorage.setItem(PLACE, JSON.stringify(kept));
}

async function restorePlace() {
  const kept = JSON.parse(sessionStorage.getItem(PLACE) ?? "null");
  const isBack = performance.getEntriesByType("navigation")[0]?.type === "back_forward";
  if (!isBack || kept?.address !== location.search) return;
  await list.fill(Math.min(kept.listed, MOST_RESTORED));
  list.focusOn(kept.sha256);
}

async function show() {
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  drawChips();
  drawForm();
  part("listed").setAttribute("aria-busy", "true");
  try {
    const [found] = await Promise.all([load(signal), showCounts(signal)]);
    total = found.total;
    part("number").textContent = t(total === 1 ? "library.number_one" : "library.number", { count: count(total) });
    list.show(found.pictures);
    list.more(found.more);
    tellNone(total ? "" : await reason());
  } catch (error) {
    if (error.name === "AbortError") return;
    // Nothing of another choice may stand below these filters.
    list.show([]);
    total = 0;
    tellNone(error.message);
    part("number").textContent = t("library.not_listed");
    problem(error);
  }
  part("listed").removeAttribute("aria-busy");
}

async function selectAll() {
  const found = [];
  const { signal } = asked;
  let next = () => load(signal, LARGEST);
  while (next && found.length < MOST_SELECTED) {
    const page = await next();
    found.push(...page.pictures.map((each) => each.sha256));
    next = page.more;
  }
  const chosen = found.slice(0, MOST_SELECTED);
  select(chosen);
  const many = { count: count(chosen.length), total: count(total) };
  say(t(total > chosen.length ? "library.selected_some" : "library.selected", many));
}

// What was not taken, where it cannot be overlooked.
async function tellFailures() {
  const { failures } = await about;
  if (!failures) return;
  part("failures").replaceChildren(
    t(failures === 1 ? "library.failed_one" : "library.failed", { count: count(failures) }), " ",
    el("a", { href: "/overview" }, t("library.see_overview")),
  );
  part("failures").hidden = false;
}

part("filters").addEventListener("submit", (event) => event.preventDefault());
for (const name of ["under", "taken_from", "taken_to", "known", "order"]) {
  part(name).addEventListener("change", () => {
    if (part(name).reportValidity()) change({ ...choice, [name]: part(name).value.trim() });
  });
}
part("gone").addEventListener("change", () => change({ ...choice, gone: String(part("gone").checked) }));
part("select_all").addEventListener("click", selectAll);
part("file").addEventListener("change", () => part("file").files.length && searchWithFile(part("file").files[0]));
acceptDrops(document.body);
addEventListener("popstate", () => {
  // "Skip to the content" is no other choice.
  if (address(read(location.search)) === address(choice)) return;
  choice = read(location.search);
  show();
});
let counting = 0;
document.addEventListener("decided", () => {
  // One decision on many pictures is told of each.
  clearTimeout(counting);
  counting = setTimeout(() => showCounts(asked.signal).catch(problem), 300);
});

// Where they would stand above the pictures, not beside them.
part("beside").open = !matchMedia("(max-width: 50rem)").matches;
part("facets").append(counts.element);
part("listed").append(decideBar(), list.element);
addEventListener("pagehide", keepPlace);
tellFailures().catch(problem);
show().then(restorePlace).catch(problem);

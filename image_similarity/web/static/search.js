// The page "search": pictures and filters at the side, what the filter hides always in words, and the hits.
// All that is asked stands in the address; each change asks anew.

import { get, send } from "./api.js";
import { current } from "./current.js";
import { decideBar } from "./decide.js";
import { el } from "./dom.js";
import { grid } from "./grid.js";
import { keepHits } from "./hits.js";
import { key } from "./keys.js";
import { count } from "./numbers.js";
import { problem, say } from "./say.js";
import { closeness, filters } from "./search-filters.js";
import { pictures } from "./search-pictures.js";
import { address, queries, question, read } from "./search-state.js";
import { t } from "./texts.js";

const main = document.getElementById("search");
let state = read();
let answer = null;
// The query, {kind, hash}, that the hits on the page are hits of; the address may ask for the next one already.
let answered = null;
let asking = 0;
let held = null;

// -- the hits --------------------------------------------------------------------------------------------------------

function closeTo(hit) {
  if (hit.as_close) return t("search.as_close", { count: count(hit.as_close.count), pairs: count(hit.as_close.pairs) });
  return closeness(answer?.reference, hit.distance);
}

function special(hit) {
  return [
    hit.identical && t("search.identical"),
    hit.partial && t("search.partial"),
    hit.gone && t("search.is_gone"),
    ...hit.known.map((name) => t("search.is_known", { name })),
    hit.inliers !== null && hit.inliers !== undefined && t("search.inliers", { count: hit.inliers }),
    hit.not_checked && t("search.not_checked", { reason: hit.not_checked }),
    hit.pdq_distance !== null && hit.pdq_distance !== undefined && t("search.pdq", { bits: hit.pdq_distance }),
  ].filter(Boolean);
}

function words(hit) {
  const marks = special(hit);
  return [
    el("p", {}, el("strong", {}, t("search.rank", { rank: hit.rank })), " ", t("search.distance", { distance: hit.distance.toFixed(3) })),
    el("p", {}, el("bdi", {}, hit.place)),
    hit.scene && el("p", {}, t("search.scene", { name: hit.scene.name, share: hit.scene.probability.toFixed(2) })),
    el("p", { class: "faint" }, closeTo(hit)),
    hit.expected_false !== null && hit.expected_false !== undefined && el("p", { class: "faint" }, t(answer.cohort ? "search.expected" : "search.expected_at_most", { count: shortly(hit.expected_false) })),
    marks.length > 0 && el("ul", { class: "chips" }, marks.map((each) => el("li", {}, each))),
  ].filter(Boolean);
}

const shortly = (value) => (value < 0.001 ? t("search.below", { value: 0.001 }) : value.toLocaleString("en", { maximumSignificantDigits: 2 }));

const hits = grid({ label: t("search.hits"), words });

function showHits() {
  const { id } = answer;
  hits.show(answer.hits.items);
  const load = (cursor) => cursor && (async () => {
    const page = await get(`/searches/${id}/hits`, { cursor, limit: 100 }).catch(forgotten);
    return page ? { pictures: page.items, more: load(page.next) } : { pictures: [], more: null };
  });
  hits.more(load(answer.hits.next));
}

// The server keeps the last answers only.
function forgotten(error) {
  if (error.code !== "forgotten" && error.code !== "bad_cursor") throw error;
  say(t("search.again"));
  ask();
}

// -- what was searched, in words -------------------------------------------------------------------------------------

const told = el("section", { class: "told", tabindex: -1, "aria-label": t("search.told") });

function list(names) {
  const shown = names.slice(0, 6).join(", ");
  return names.length > 6 ? t("search.and_more", { names: shown, count: names.length - 6 }) : shown;
}

function filterWords() {
  const { mode, scenes, searched, hidden, hidden_nearer: nearer, nearer: nearerWords } = answer.filter;
  if (mode === "off") {
    return [
      el("p", {}, t("search.searched_all", { searched: count(searched) })),
      el("p", {}, el("button", { type: "button", onclick: () => changed({ scene: ["auto"] }) }, t("search.likely_only"))),
    ];
  }
  const shown = t("search.searched", { searched: count(searched), total: count(searched + hidden), scenes: list(scenes) || t("search.no_scenes") });
  if (!hidden) return [el("p", {}, shown)];
  const widen = el("button", { type: "button", id: "widen", class: nearer ? "primary" : "", onclick: () => changed({ scene: ["off"] }) }, t("search.widen"));
  return [
    el("p", {}, shown),
    el("p", { class: nearer ? "hides-nearer" : "" }, t("search.hidden", { hidden: count(hidden), nearer: nearerWords }), " ", widen),
  ];
}

// The same pictures, and nothing that narrows.
function unfiltered() {
  return { ...read(""), pictures: state.pictures, crop: state.crop, model: state.model, scene: ["off"] };
}

function recordWords() {
  if (answer.recorded) return t("search.recorded");
  return answer.not_recorded ? t("search.not_recorded", { reason: answer.not_recorded }) : "";
}

function tell() {
  const { excluded } = answer;
  const brought = excluded.hidden_irrelevant > 0 && el("button", { type: "button", onclick: () => changed({ irrelevant: true }) }, t("search.bring_back"));
  told.replaceChildren(
    el("p", { class: "count-of-hits" }, answer.hits.total ? t("search.found", { count: count(answer.hits.total) }) : t("search.found_none")),
    ...filterWords(),
    ...[!answer.hits.total && el("p", {}, el("button", { type: "button", onclick: () => changed(unfiltered()) }, t("search.unfiltered")))].filter(Boolean),
    ...answer.words.map((each) => el("p", { class: "faint" }, each)),
    ...[brought && el("p", {}, brought), answer.made && el("p", {}, t("search.made", { made: answer.made })), answer.query_known.length > 0 && el("p", {}, t("search.query_known", { lists: answer.query_known.map((each) => each.list).join(", ") }))].filter(Boolean),
    el("p", { class: "faint" }, t("search.how", { search: t(`search.kind_${answer.search}`), model: answer.model, fingerprint: answer.fingerprint.slice(0, 12) }), " ", recordWords()),
    ...[answer.hits.total > 0 && el("p", {}, el("a", { href: `/selection?search=${answer.id}` }, t("reports.of_these_hits")))].filter(Boolean),
  );
}

function nearDuplicates() {
  if (!answer.near.length) return null;
  const lines = answer.near.map((each) => el("li", {}, el("a", { href: `/search?sha256=${each.sha256}` }, el("bdi", {}, each.place)), " ", t("search.pdq", { bits: each.distance }), each.identical ? `, ${t("search.identical")}` : ""));
  return el("details", {}, el("summary", {}, t("search.near_found", { count: answer.near.length })), el("ul", {}, lines));
}

// -- asking ----------------------------------------------------------------------------------------------------------

const side = pictures(changed);
const chosen = filters(changed);
const nothing = el("p", { class: "drop-here" }, t("search.begin"));
const near = el("div", {});
const acts = el(
  "p",
  { class: "acts" },
  el("button", { type: "button", "aria-keyshortcuts": "c", onclick: compare }, t("search.compare"), " ", el("kbd", { "aria-hidden": "true" }, "c")), " ",
  el("button", { type: "button", "aria-keyshortcuts": "a", onclick: () => addCurrent(false) }, t("search.too"), " ", el("kbd", { "aria-hidden": "true" }, "a")), " ",
  el("button", { type: "button", "aria-keyshortcuts": "b", onclick: () => addCurrent(true) }, t("search.not_like"), " ", el("kbd", { "aria-hidden": "true" }, "b")),
);
const found = el("div", { class: "found", hidden: true }, told, el("p", { class: "caution" }, t("search.caution")), acts, decideBar(), near, hits.element);
// Where the window is narrow or zoomed the filters stand above the hits, folded.
const fold = el("details", { class: "fold", open: matchMedia("(width > 50rem)").matches, hidden: true }, el("summary", {}, t("search.filters")), chosen.element);
main.append(el("div", { class: "side" }, side.element, fold), el("div", { class: "results", id: "results", tabindex: -1 }, nothing, found));

// Take part of a state over, write it into the address, and ask.
function changed(part) {
  state = { ...state, ...part };
  history.pushState(null, "", address(state));
  ask();
}

// What the case holds, asked for once; again where that failed.
function holdings() {
  held ??= Promise.all([get("/facets"), get("/case")]).catch((error) => {
    held = null;
    throw error;
  });
  return held;
}

function answerOf(query) {
  answered = query;
  found.hidden = !query;
  if (query) document.body.dataset.query = query.hash;
  else delete document.body.dataset.query;
}

async function ask() {
  const turn = ++asking;
  const first = queries(state)[0];
  nothing.hidden = Boolean(first);
  fold.hidden = !first || !answer;
  side.show(state, answer);
  if (!first) {
    main.removeAttribute("aria-busy");
    answerOf(null);
    return;
  }
  main.setAttribute("aria-busy", "true");
  say(t("search.searching"));
  try {
    const [counts, about] = await holdings();
    const given = await send("POST", "/searches", question(state));
    // What was asked meanwhile is what counts.
    if (turn === asking) show(given, counts, about.models.filter((each) => each.vectors));
  } catch (error) {
    if (turn === asking) {
      answerOf(null);
      problem(error);
    }
  } finally {
    if (turn === asking) main.removeAttribute("aria-busy");
  }
}

function show(given, counts, models) {
  const inHand = [hits.element, told].find((each) => each.contains(document.activeElement));
  answer = given;
  answerOf(queries(state)[0]);
  fold.hidden = false;
  side.show(state, answer);
  chosen.show(state, answer, counts, models);
  tell();
  near.replaceChildren(...[nearDuplicates()].filter(Boolean));
  showHits();
  // Whoever was among what stood there goes on among what stands there now.
  if (inHand === hits.element && answer.hits.total) hits.focusFirst();
  else if (inHand) told.focus();
  say(answer.hits.total ? t("search.found", { count: count(answer.hits.total) }) : t("search.found_none"));
}

// -- acts on a hit ---------------------------------------------------------------------------------------------------

function hitInHand() {
  const target = current();
  if (target?.picture && hits.element.contains(target)) return target.picture;
  say(t("search.no_hit"));
  return null;
}

function compare() {
  const hit = hitInHand();
  if (!hit) return;
  keepHits(answered.hash, [...hits.element.querySelectorAll(".tile")].map((each) => each.dataset.sha256));
  location.assign(`/compare?query=${answered.hash}&hit=${hit.sha256}${answered.kind === "upload" ? "&query_upload=1" : ""}`);
}

function addCurrent(isAgainst) {
  const hit = hitInHand();
  if (hit) side.add([{ kind: "sha256", hash: hit.sha256, against: isAgainst }]);
}

key("c", t("search.compare"), compare);
key("a", t("search.too"), () => addCurrent(false));
key("b", t("search.not_like"), () => addCurrent(true));
addEventListener("popstate", () => {
  // "Skip to the content" is no other question.
  if (address(read()) === address(state)) return;
  state = read();
  ask();
});
// What was judged irrelevant goes at once, unless it is asked for; undo brings it back.
document.addEventListener("decided", ({ detail: { decision } }) => {
  if (decision.kind !== "verdict") return;
  for (const tile of hits.element.querySelectorAll(`.tile[data-sha256="${decision.sha256}"]`)) {
    tile.classList.toggle("ruled-out", tile.picture.verdict === "irrelevant");
  }
});
ask();

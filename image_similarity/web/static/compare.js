// The page "compare": a query and a hit side by side, what is measured of them, what is on record of both.

import { ApiError, blob, get, query as queryString, send } from "./api.js";
import { act } from "./current.js";
import { decideBar } from "./decide.js";
import { el, pairs, part } from "./dom.js";
import { hitsOf } from "./hits.js";
import { describe, key } from "./keys.js";
import { heat, lines, MOST_LINES, some } from "./overlays.js";
import { pairTable } from "./pair-table.js";
import { panes } from "./panes.js";
import { problem, say } from "./say.js";
import { t } from "./texts.js";

// The page shows a picture so large at first, and so large once it is looked at closely.
const LARGE = 2048;
const LARGEST = 4096;
const CLOSE = 2;
const HEX = /^[0-9a-f]{64}$/;

const view = panes();
const over = { lines: lines(view), query: heat(view.query), hit: heat(view.hit) };
// What is shown: {query, hit, upload, model}; `answer` gives up what a newer one has overtaken.
let shown = null;
let answer = new AbortController();
let explaining = null;

function asked() {
  const found = new URLSearchParams(location.search);
  const [query, hit] = ["query", "hit"].map((name) => found.get(name) ?? "");
  return { query, hit, upload: found.get("query_upload") === "1", model: found.get("model") ?? undefined };
}

function address({ query, hit, upload, model }) {
  return `/compare${queryString({ query, hit, query_upload: upload ? 1 : undefined, model })}`;
}

function neighbour(step) {
  const all = hitsOf(shown?.query);
  const at = all.indexOf(shown?.hit);
  return at < 0 ? undefined : all[at + step];
}

function go(step) {
  const hit = neighbour(step);
  if (!hit) return say(t(step > 0 ? "compare.last" : "compare.first"));
  history.pushState(null, "", address({ ...shown, hit }));
  return show();
}

// -- pictures -----------------------------------------------------------------------------------------------------

function pathOf(pane) {
  return shown.upload && pane === view.query ? `/uploads/${shown.query}/picture` : `/pictures/${shown[pane.name]}/picture`;
}

function put(pane, found) {
  if (pane.url) URL.revokeObjectURL(pane.url);
  pane.url = URL.createObjectURL(found);
  pane.image.src = pane.url;
  pane.tell("");
}

// The stored thumbnail is better than nothing, and says that it is one.
async function smaller(pane, reason, signal) {
  if (shown.upload && pane === view.query) return pane.tell(reason.message);
  try {
    const found = await blob(`/pictures/${shown[pane.name]}/thumbnail`, { side: 512 }, signal);
    if (signal.aborted) return undefined;
    put(pane, found);
    return say(t("compare.only_small", { reason: reason.message }));
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    return pane.tell(reason.message);
  }
}

// A picture that is there already stays; another is never left standing beside what is said of this one.
async function load(pane, side, signal) {
  const path = pathOf(pane);
  const there = pane.path === path;
  const before = pane.side;
  if (there && before >= side) return;
  if (!there) {
    pane.path = null;
    pane.tell(t("frame.loading"));
  }
  pane.side = side;
  try {
    const found = await blob(path, { side }, signal);
    if (signal.aborted || pane.side !== side) return;
    put(pane, found);
    pane.path = path;
  } catch (error) {
    if (there) pane.side = before;
    else if (error.name !== "AbortError") await smaller(pane, error, signal);
  }
}

// Looked at closely, a large picture is fetched larger.
function sharpen() {
  for (const pane of [view.query, view.hit]) {
    const longest = Math.max(pane.size.width, pane.size.height);
    if (shown && pane.seen.scale >= CLOSE && pane.side === LARGE && longest > LARGE) load(pane, LARGEST, answer.signal);
  }
}

// -- what is known of both ----------------------------------------------------------------------------------------

function pdqText({ pdq_distance: bits, pdq_quality: quality, pdq_note: note }) {
  if (bits === null) return t("compare.pdq_unknown", { note });
  if (quality < 50) return t("compare.pdq_poor", { bits, quality });
  return t(bits <= 31 ? "compare.pdq_near" : "compare.pdq_far", { bits });
}

function sceneText({ name, query, hit }) {
  return t("compare.shared_scene", { name, query: query.toFixed(2), hit: hit.toFixed(2) });
}

function measured(found) {
  const alike = found.similarity === null ? "" : t("compare.similarity_text", { value: found.similarity.toFixed(4) });
  const distance = t("compare.distance_text", { distance: found.distance.toFixed(4), model: found.model, fingerprint: found.fingerprint.slice(0, 12) });
  const shared = found.shared_scenes.slice(0, 5).map(sceneText).join(", ");
  return pairs([
    [t("compare.distance"), [distance, alike].filter(Boolean).join(", ")],
    [t("compare.reference"), found.as_close && t("compare.reference_text", { count: found.as_close, pairs: found.reference })],
    [t("compare.identical"), t(found.identical ? "compare.identical_yes" : "compare.identical_no")],
    [t("compare.pdq"), pdqText(found)],
    [t("compare.shared"), shared || t("compare.none")],
    [t("compare.verdict"), found.verdict ? t(`compare.verdict_${found.verdict.value}`, { actor: found.verdict.actor, at: found.verdict.at }) : t("compare.undecided")],
  ]);
}

// Vectors of several models cannot be mixed: one is to be chosen.
async function choose() {
  const { models } = await get("/case");
  const choice = el("select", { id: "model" }, models.filter((each) => each.vectors).map((each) => el("option", { value: each.fingerprint }, `${each.name} (${each.fingerprint.slice(0, 12)})`)));
  const use = () => {
    history.replaceState(null, "", address({ ...shown, model: choice.value }));
    show();
  };
  part("measured").replaceChildren(el("label", { for: "model" }, t("compare.model")), " ", choice, " ", el("button", { type: "button", onclick: use }, t("compare.choose")));
}

async function measure(signal) {
  const { query, hit, upload, model } = shown;
  try {
    const found = await get(`/comparisons/${query}/${hit}`, { upload: upload || undefined, model }, signal);
    if (!signal.aborted) part("measured").replaceChildren(measured(found));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.code === "ambiguous_model") await choose();
    else part("measured").replaceChildren(el("p", { class: "problem" }, error.message));
  }
}

// What is on record of a picture; of an upload only what it has in common with a stored one.
async function record(sha256, signal) {
  try {
    return await get(`/pictures/${sha256}`, {}, signal);
  } catch (error) {
    if (shown?.upload && sha256 === shown.query && error instanceof ApiError && error.status === 404) return { sha256 };
    throw error;
  }
}

function sized(pane, found) {
  if (found?.width) pane.size = { width: found.width, height: found.height };
  const first = found?.places?.[0];
  const where = first ? `${first.source}:${first.path}` : t("compare.uploaded");
  part(`where-${pane.name}`).replaceChildren(`${t(`compare.${pane.name}`)}: `, el("bdi", {}, where));
  pane.turnTo(pane.turn, pane.mirrored);
}

async function tabulate(signal) {
  const [query, hit] = await Promise.all([shown.query, shown.hit].map((each) => record(each, signal)));
  if (signal.aborted) return;
  sized(view.query, query);
  sized(view.hit, hit);
  view.told();
  part("table").replaceChildren(pairTable(query, hit));
}

// -- why they are alike -------------------------------------------------------------------------------------------

function clear() {
  explaining?.abort();
  over.lines.show([]);
  over.query.show([]);
  over.hit.show([]);
  part("strength").hidden = true;
  part("explained").textContent = "";
}

function explained(found) {
  over.lines.show(some(found.points, MOST_LINES));
  over.query.show(found.query_heat);
  over.hit.show(found.hit_heat);
  part("strength").hidden = !found.query_heat.length;
  const points = { count: found.points.length, drawn: Math.min(MOST_LINES, found.points.length), geometry: found.geometry };
  const text = found.points.length ? t("compare.points_found", points) : t("compare.heat_found", { note: found.note || t("compare.asked_for") });
  part("explained").textContent = text;
}

async function explain(method) {
  clear();
  explaining = new AbortController();
  const { signal } = explaining;
  const buttons = document.querySelectorAll("#explain button");
  for (const each of buttons) each.disabled = true;
  part("stop").hidden = false;
  part("stop").disabled = false;
  part("explained").textContent = t("compare.explaining");
  const { query, hit, upload, model } = shown;
  try {
    explained(await send("POST", "/explanations", { query, hit, upload, method, model }, signal));
  } catch (error) {
    part("explained").textContent = error.name === "AbortError" ? "" : t("compare.not_explained", { reason: error.message });
  } finally {
    part("stop").hidden = true;
    for (const each of buttons) each.disabled = false;
  }
}

// -- tools --------------------------------------------------------------------------------------------------------

function mode(value) {
  view.mode(value);
  for (const each of document.querySelectorAll("[data-to]")) each.setAttribute("aria-pressed", each.dataset.to === value ? "true" : "false");
  part("flip").hidden = value !== "flicker";
  part("wiping").hidden = value !== "wipe";
  view.wipe(value === "wipe" ? part("wipe").value : null);
  over.lines.soon();
}

// By hand only: nothing on this page ever alternates by itself.
function flip() {
  if (view.element.dataset.mode === "flicker") view.flip();
  else mode("flicker");
  over.lines.soon();
  part("flip").textContent = t("compare.flip", { shown: t(`compare.${view.shown}`) });
  say(t("compare.showing", { shown: t(`compare.${view.shown}`) }));
}

// Large pictures are covered as all others are; one key shows or covers both.
function reveal() {
  const both = [view.query.picture, view.hit.picture];
  const cover = both.every((each) => each.classList.contains("revealed"));
  for (const each of both) each.classList.toggle("revealed", !cover);
  document.dispatchEvent(new CustomEvent("care"));
  say(t(cover ? "compare.covered" : "compare.revealed"));
}

function turn(angle, mirror) {
  const { hit } = view;
  hit.turnTo((hit.turn + angle) % 360, mirror ? !hit.mirrored : hit.mirrored);
  view.told();
}

function listen() {
  const acts = {
    larger: () => view.zoom(1.25), smaller: () => view.zoom(0.8), whole: view.reset, flip, reveal,
    rotate: () => turn(90, false), mirror: () => turn(0, true), before: () => go(-1), next: () => go(1),
    points: () => explain("points"), heat: () => explain("occlusion"), auto: () => explain("auto"), stop: () => explaining?.abort(), clear,
  };
  for (const [name, does] of Object.entries(acts)) part(name).addEventListener("click", does);
  for (const each of document.querySelectorAll("[data-to]")) each.addEventListener("click", () => mode(each.dataset.to));
  part("linked").addEventListener("change", () => view.link(part("linked").checked));
  part("wipe").addEventListener("input", () => view.wipe(part("wipe").value));
  part("opacity").addEventListener("input", () => { for (const name of ["query", "hit"]) over[name].strength(part("opacity").value / 100); });
  view.onchange(sharpen);
  // "Skip to the content" is no other pair.
  addEventListener("popstate", () => { if (address(asked()) !== address(shown)) show(); });
  // A verdict or a tag of the hit changes what stands here; decisions of others come with the next picture.
  document.addEventListener("decided", ({ detail }) => {
    if (shown && [shown.hit, shown.query].includes(detail.sha256)) Promise.all([measure(answer.signal), tabulate(answer.signal)]).catch(problem);
  });
  key("+", t("compare.key_larger"), acts.larger);
  key("-", t("compare.key_smaller"), acts.smaller);
  key("0", t("compare.key_whole"), acts.whole);
  describe("← → ↑ ↓", t("compare.key_move"));
  key("f", t("compare.key_flip"), flip);
  key("Escape", t("compare.key_side"), () => mode("side"), "Esc");
  key("v", t("compare.key_reveal"), reveal);
  for (const name of ["j", "]"]) key(name, t("compare.key_next"), acts.next);
  for (const name of ["k", "["]) key(name, t("compare.key_before"), acts.before);
}

function ready() {
  const { hit, query } = shown;
  document.body.dataset.query = query;
  view.hit.element.dataset.sha256 = hit;
  act(view.hit.element);
  const all = hitsOf(query);
  const at = all.indexOf(hit);
  part("walk").hidden = at < 0;
  part("position").textContent = at < 0 ? "" : t("compare.position", { at: at + 1, of: all.length });
  part("before").disabled = at <= 0;
  part("next").disabled = at < 0 || at === all.length - 1;
  part("back").href = `/search${queryString(shown.upload ? { upload: query } : { sha256: query })}`;
  part("ask").href = `/search${queryString({ sha256: hit })}`;
}

async function show() {
  answer.abort();
  answer = new AbortController();
  shown = asked();
  const found = HEX.test(shown.query) && HEX.test(shown.hit);
  part("comparison").hidden = !found;
  part("no-pair").hidden = found;
  if (!found) return;
  clear();
  ready();
  for (const each of [view.query, view.hit]) each.picture.classList.remove("revealed");
  view.hit.turnTo(0, false);
  part("measured").textContent = t("frame.loading");
  part("table").replaceChildren();
  part("where-hit").textContent = "";
  const { signal } = answer;
  try {
    await Promise.all([load(view.query, LARGE, signal), load(view.hit, LARGE, signal), measure(signal), tabulate(signal)]);
  } catch (error) {
    problem(error);
  }
}

part("panes").append(view.element);
part("decide").append(decideBar());
listen();
show();

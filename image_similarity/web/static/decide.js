// Decisions: single keys, and a row of buttons for the mouse. A mark is shown when the server has it, not before.
// A verdict is on a hit of a query: the nearest element around the picture with `data-query` has its SHA-256.

import { get, isSignedOut, send } from "./api.js";
import { current } from "./current.js";
import { dialog, el, meta } from "./dom.js";
import { askExaminerOnce } from "./examiner.js";
import { key } from "./keys.js";
import { problem, say } from "./say.js";
import { selected, toggle } from "./selection.js";
import { t } from "./texts.js";
import { dropUndo, lastUndo, pushUndo } from "./undo.js";

const LONGEST = { tag: 100, category: 100, note: 2000 };
// As many as the server takes at once.
const PORTION = 1000;
const readOnly = meta("read-only") === "true";
// What was last said of each kind, offered again.
const last = {};
let work = Promise.resolve();
let underWay = 0;

// One after the other, so that undo finds what was decided before it.
function inTurn(act) {
  underWay += 1;
  work = work.then(act).catch(problem).finally(() => { underWay -= 1; });
  return work;
}

// Whoever leaves before the server has it would lose it without a word.
addEventListener("beforeunload", (event) => { if (underWay && !isSignedOut()) event.preventDefault(); });

function portions(list) {
  const found = [];
  for (let start = 0; start < list.length; start += PORTION) found.push(list.slice(start, start + PORTION));
  return found;
}

// Tell the page: the tiles that show the picture, and whoever else listens to "decided" on document.
function tell(decisions) {
  for (const decision of decisions) {
    document.dispatchEvent(new CustomEvent("decided", { detail: { sha256: decision.sha256, decision } }));
  }
}

function named(decision) {
  return t(`decide.said_${decision.kind}`, { value: decision.kind === "verdict" ? t(`decide.${decision.value}`) : decision.value });
}

// What stands that a new decision takes the place of, to be said again by undo; only of kinds that have one value.
async function standing(kind, sha256s, asked = {}) {
  if (kind !== "category" && kind !== "verdict") return [];
  const found = [];
  const one = sha256s.length === 1 ? sha256s[0] : "";
  const wanted = new Set(sha256s);
  let cursor = "";
  do {
    const page = await get("/decisions", { kind, sha256: one, limit: 500, cursor, ...asked });
    found.push(...page.items.filter((each) => wanted.has(each.sha256)));
    cursor = page.next;
  } while (cursor);
  return found;
}

// Gives the new decisions, and adds them to `made` as they come: what was said before a failure can be undone, too.
async function sayOf(sha256s, kind, value, made = []) {
  for (const portion of portions(sha256s)) {
    const { decided } = await send("POST", "/batches/decisions", { sha256s: portion, kind, value });
    made.push(...decided);
    tell(decided);
  }
  return made;
}

async function judged(sha256, value, query) {
  const made = await send("POST", "/decisions", { sha256, kind: "verdict", value, query_sha256: query });
  tell([made]);
  return made;
}

function remember(made, before) {
  const replaced = new Set(made.map((each) => each.sha256));
  pushUndo({ names: made.map((each) => each.name), before: before.filter((each) => replaced.has(each.sha256)), what: named(made[0]) });
}

async function decided(sha256s, kind, value) {
  const before = await standing(kind, sha256s);
  const made = [];
  try {
    await sayOf(sha256s, kind, value, made);
  } finally {
    if (made.length) remember(made, before);
  }
  last[kind] = value;
  if (!made.length) return say(t("decide.stands"));
  return say(t(sha256s.length > 1 ? "decide.done_several" : "decide.done", { what: named(made[0]), count: made.length }));
}

// Say of the picture in focus whether it belongs to the query.
function judge(value) {
  const target = current();
  const query = target?.closest("[data-query]")?.dataset.query;
  if (!target) return say(t("decide.no_picture"));
  if (!query) return say(t("decide.no_query"));
  const sha256 = target.dataset.sha256;
  if (sha256 === query) return say(t("decide.is_query"));
  return inTurn(async () => {
    await askExaminerOnce();
    const before = await standing("verdict", [sha256], { query_sha256: query });
    if (before[0]?.value === value) return say(t("decide.stands"));
    const made = await judged(sha256, value, query);
    remember([made], before);
    say(t("decide.done", { what: named(made) }));
  });
}

// Withdraw decisions, but for those that someone else has withdrawn.
async function withdraw(names) {
  try {
    tell((await send("POST", "/batches/withdrawals", { names })).withdrawn);
  } catch (error) {
    if (error.code !== "no_such_decision") throw error;
    if (names.length > 1) for (const each of names) await withdraw([each]);
  }
}

// Of what was replaced that in whose place nothing has been said since: what others decided meanwhile holds.
async function unsaid(before) {
  if (!before.length) return [];
  const [{ kind, query_sha256: query }] = before;
  const stands = await standing(kind, before.map((each) => each.sha256), query ? { query_sha256: query } : {});
  const said = new Set(stands.map((each) => each.sha256));
  return before.filter((each) => !said.has(each.sha256));
}

// Withdraw the last decision of this window, and say again what it took the place of.
function undo() {
  return inTurn(async () => {
    const done = lastUndo();
    if (!done) return say(t("decide.no_undo"));
    for (const names of portions(done.names)) await withdraw(names);
    const renamed = new Map();
    for (const each of await unsaid(done.before)) {
      const again = each.kind === "verdict" ? [await judged(each.sha256, each.value, each.query_sha256)] : await sayOf([each.sha256], each.kind, each.value);
      for (const { name } of again) renamed.set(each.name, name);
    }
    dropUndo(renamed);
    return say(t("decide.undone", { what: done.what }));
  });
}

async function offerTags(list) {
  const { tags } = await get("/case");
  list.append(...tags.map((each) => el("option", { value: each })));
}

// Ask for the words, then say them of pictures; words that the server refuses are asked for again. The dialog opens
// at once: until it did, what is typed would be keys that decide.
function ask(kind, sha256s, value = last[kind] ?? "", wrong = "") {
  const id = `decide-${kind}`;
  const field = el("input", { id, value, maxlength: LONGEST[kind], required: true, autocomplete: "off", list: kind === "tag" && "known-tags" });
  const tags = el("datalist", { id: "known-tags" });
  const asked = dialog(
    t(`decide.${kind}`),
    [
      wrong ? el("p", { class: "problem", role: "alert" }, wrong) : [],
      el("p", {}, el("label", { for: id }, t(`decide.${kind}_label`, { count: sha256s.length }))),
      el("p", {}, field),
      tags,
    ].flat(),
    { label: t("frame.save") },
  );
  field.select();
  if (kind === "tag") offerTags(tags).catch(problem);
  asked.addEventListener("close", () => {
    if (asked.returnValue === "confirm") inTurn(() => sayOrAskAgain(kind, sha256s, field.value));
  });
}

async function sayOrAskAgain(kind, sha256s, value) {
  try {
    await askExaminerOnce();
    await decided(sha256s, kind, value);
  } catch (error) {
    ask(kind, sha256s, value, error.message);
  }
}

function askOfCurrent(kind) {
  const target = current();
  if (target) return ask(kind, [target.dataset.sha256]);
  return say(t("decide.no_picture"));
}

function askOfSelection(kind) {
  const all = selected();
  if (all.length) return ask(kind, all);
  return say(t("decide.no_selection"));
}

const ACTS = [
  ["relevant", "r", () => judge("relevant")],
  ["irrelevant", "x", () => judge("irrelevant")],
  ["tag", "t", () => askOfCurrent("tag")],
  ["note", "n", () => askOfCurrent("note")],
  ["category", "g", () => askOfCurrent("category")],
  ["undo", "u", undo],
];
// What can be said of the whole selection, too.
const OF_MANY = ["tag", "note", "category"];

// A row of buttons that does what the keys do: on the picture that is outlined, or on the selection, which `whole` prefers.
export function decideBar({ whole = false } = {}) {
  if (readOnly) return el("p", { class: "faint" }, t("decide.read_only"));
  const many = el("input", { type: "checkbox", id: "decide-many" });
  const label = el("label", { for: "decide-many" });
  const buttons = ACTS.map(([name, letter, act]) =>
    el(
      "button",
      { type: "button", class: `decide-${name}`, "aria-keyshortcuts": letter, onclick: () => (many.checked && OF_MANY.includes(name) ? askOfSelection(name) : act()) },
      t(`decide.${name}`), " ", el("kbd", { "aria-hidden": "true" }, letter),
    ));
  const chosen = el("button", { type: "button", onclick: () => { const target = current(); if (target) toggle(target.dataset.sha256); else say(t("decide.no_picture")); } }, t("decide.select"));
  function count() {
    const found = selected().length;
    label.textContent = t("decide.many", { count: found });
    many.disabled = found === 0;
    if (many.disabled) many.checked = false;
  }
  document.addEventListener("selection", count);
  count();
  many.checked = whole && !many.disabled;
  return el("div", { class: "decide", role: "group", "aria-label": t("decide.bar") }, buttons, chosen, el("span", {}, many, " ", label));
}

if (!readOnly) {
  for (const [name, letter, act] of ACTS) {
    // A key that is held down would judge again and again.
    key(letter, t(`decide.key_${name}`), (event) => { if (!event.repeat) act(); });
  }
  key("T", t("decide.key_many"), (event) => { if (!event.repeat) askOfSelection("tag"); }, "Shift+T");
}

// What could not be taken, by stage and reason. The filters stand in the address.

import { get, query } from "./api.js";
import { el } from "./dom.js";
import { count, size } from "./numbers.js";
import { t } from "./texts.js";

const FILTERS = ["source", "stage", "error"];
const LABELS = { source: "overview.source", stage: "overview.stage", error: "overview.reason" };
const COLUMNS = ["path", "stage", "reason", "size", "since"];

function row(failure) {
  return el(
    "tr",
    {},
    el("th", { scope: "row", class: "path" }, el("bdi", {}, failure.path), el("div", { class: "faint" }, el("bdi", {}, failure.source))),
    el("td", { class: "word" }, t(`overview.stage.${failure.stage}`)),
    el("td", {}, failure.meaning, el("div", { class: "faint" }, `${failure.error}: ${failure.message}`)),
    el("td", { class: "number" }, failure.size === null ? "" : size(failure.size)),
    el("td", { class: "number" }, failure.run ?? ""),
  );
}

// Give {load}; `start(kind, sources)` begins a job, null on a page for reading only.
export function failuresList(place, start) {
  const asked = Object.fromEntries(new URLSearchParams(location.search));
  const chosen = Object.fromEntries([...FILTERS, "run"].map((name) => [name, asked[name] ?? ""]));
  // Typed by hand it may be anything.
  if (!/^[1-9]\d{0,8}$/.test(chosen.run)) chosen.run = "";
  const selects = Object.fromEntries(FILTERS.map((name) => [name, el("select", { id: `failures-${name}`, onchange: filter })]));
  const labelled = FILTERS.map((name) => [el("label", { for: `failures-${name}` }, t(LABELS[name])), selects[name]]);
  const retry = el("button", { type: "button", onclick: () => start("retry", chosen.source ? [chosen.source] : []) });
  const ofRun = el("p", { hidden: true });
  const shown = el("p", { class: "faint" });
  const body = el("tbody");
  const more = el("button", { type: "button", hidden: true }, t("frame.more"));
  const heads = COLUMNS.map((name) => el("th", { scope: "col" }, t(`overview.${name}`)));
  const table = el("table", {}, el("thead", {}, el("tr", {}, heads)), body);
  const region = { class: "scrolling", tabindex: 0, role: "group", "aria-labelledby": "failures-title" };
  place.append(ofRun, el("div", { class: "tools" }, labelled.flat(), start && retry), shown, el("div", region, table), el("p", {}, more));
  let cursor = null;

  function filter() {
    for (const name of FILTERS) chosen[name] = selects[name].value;
    history.replaceState(null, "", `${location.pathname}${query(chosen)}`);
    load();
  }

  function options(name, counts, words) {
    const every = el("option", { value: "" }, t("overview.any"));
    // What was chosen stays a choice, though there is none of it any more.
    const all = chosen[name] && !(chosen[name] in counts) ? { ...counts, [chosen[name]]: 0 } : counts;
    const made = Object.entries(all).map(([value, number]) => el("option", { value }, t("overview.option", { name: words(value), count: count(number) })));
    selects[name].replaceChildren(every, ...made);
    selects[name].value = chosen[name];
  }

  async function next(from) {
    const found = await get("/failures", { ...chosen, limit: 100, cursor: from });
    if (!from) body.replaceChildren();
    body.append(...found.items.map(row));
    cursor = found.next;
    more.hidden = !cursor;
    shown.textContent = found.total ? t("overview.failures_shown", { shown: count(body.rows.length), total: count(found.total) }) : t("overview.failures_none");
    table.hidden = !found.total;
    return found;
  }

  async function load() {
    const [found, covered] = await Promise.all([next(""), get("/coverage")]);
    options("source", Object.fromEntries(covered.sources.map((each) => [each.name, each.failures])), (name) => name);
    options("stage", found.by_stage, (name) => t(`overview.stage.${name}`));
    options("error", found.by_error, (name) => name);
    retry.textContent = chosen.source ? t("overview.retry_of", { source: chosen.source }) : t("overview.retry_all");
    retry.disabled = !covered.failures;
    ofRun.hidden = !chosen.run;
    ofRun.replaceChildren(t("overview.failures_of_run", { id: chosen.run }), " ", el("a", { href: "/overview#failures" }, t("overview.failures_all")));
  }

  more.addEventListener("click", () => next(cursor));
  return { load };
}

// The sources: what each holds, how its last run ended, and buttons that read it again.

import { el } from "./dom.js";
import { count, time } from "./numbers.js";
import { mountTimes } from "./overview-runs.js";
import { t } from "./texts.js";

const COLUMNS = ["source", "files", "pictures", "failures_short", "gone", "last_run", "actions"];
const NUMBERS = ["files", "pictures", "failures_short", "gone"];

function button(kind, source, start, off) {
  const name = t(`overview.${kind}_of`, { source: source.name });
  return el("button", { type: "button", disabled: off, "aria-label": name, onclick: () => start(kind, [source.name]) }, t(`overview.${kind}`));
}

function row(source, start) {
  const last = source.last_run;
  const number = (value) => el("td", { class: "number" }, count(value));
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("bdi", {}, source.name), el("div", { class: "faint" }, el("bdi", {}, source.root))),
    number(source.files),
    number(source.images),
    number(source.failures),
    number(source.gone),
    el("td", { class: "word" }, last ? [time(last.started_at), el("div", { class: "faint" }, t(`overview.status.${last.status}`))] : t("overview.never")),
    start && el("td", {}, el("div", { class: "tools" }, button("refresh", source, start, false), button("retry", source, start, !source.failures))),
  );
}

// What an examiner must know of the last runs before anything else.
function warnings(sources) {
  const runs = sources.map((each) => each.last_run).filter(Boolean);
  const writable = runs.filter((run) => run.mount && !run.mount.read_only);
  const unsound = runs.filter((run) => run.status !== "running" && !run.accounted);
  return [
    ...writable.map((run) => t("overview.writable", { source: run.source, point: run.mount.point, times: mountTimes(run.mount) })),
    ...unsound.map((run) => t("overview.not_accounted", { id: run.id })),
  ].map((text) => el("p", { class: "warning" }, text));
}

// `start(kind, sources)` begins a job; null on a page for reading only.
export function sourcesTable(place, covered, start) {
  if (!covered.sources.length) {
    place.replaceChildren(el("p", {}, t("overview.no_sources")));
    return;
  }
  const columns = COLUMNS.filter((name) => start || name !== "actions");
  const heads = columns.map((name) => el("th", { scope: "col", class: NUMBERS.includes(name) ? "number" : null }, t(`overview.${name}`)));
  const rows = covered.sources.map((each) => row(each, start));
  const all = (kind, off) => el("button", { type: "button", disabled: off, onclick: () => start(kind, []) }, t(`overview.${kind}_all`));
  // The button that was pressed is made anew; who operates the page by keyboard keeps the place.
  const at = [...place.querySelectorAll("button")].indexOf(document.activeElement);
  place.replaceChildren(
    ...warnings(covered.sources),
    el("div", { class: "scrolling", tabindex: 0, role: "group", "aria-labelledby": "sources-title" }, el("table", {}, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, rows))),
    ...(start ? [el("p", { class: "tools" }, all("refresh", false), all("retry", !covered.failures))] : []),
  );
  if (at >= 0) place.querySelectorAll("button")[at]?.focus();
}

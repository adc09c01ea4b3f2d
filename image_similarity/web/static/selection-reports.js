// Reports: of what, in which form; where they were written, and how to get them.

import { get, send } from "./api.js";
import { el, pairs, part } from "./dom.js";
import { count, size, time } from "./numbers.js";
import { selected } from "./selection.js";
import { t } from "./texts.js";

const MOST = 10_000;
const HTML_PICTURES = 1000;
const search = new URLSearchParams(location.search).get("search");
let cursor = "";

const link = (name) => el("a", { href: `/api/v1/reports/${name}`, download: name }, name);

// What is to be written; a text where that cannot be.
function wanted() {
  const of = document.querySelector('#report [name="of"]:checked').value;
  const limit = Number.parseInt(part("report-limit").value, 10);
  const asked = { of, form: part("report-form").value, limit: Number.isNaN(limit) ? null : limit };
  if (of === "pictures") {
    const sha256s = selected();
    if (!sha256s.length) return t("selection.none");
    if (sha256s.length > MOST) return t("reports.too_many", { count: count(MOST) });
    return { ...asked, sha256s };
  }
  if (of === "tags") return part("report-tag").value ? { ...asked, tags: [part("report-tag").value] } : t("reports.no_tags");
  if (of === "search") return { ...asked, search };
  return { ...asked, include_gone: part("report-gone").checked };
}

function told(report) {
  const left = report.chosen - report.pictures;
  return [
    el("p", {}, t("reports.done"), " ", link(report.name), report.beside && [", ", link(report.beside)]),
    pairs([
      [t("reports.path"), report.path],
      [t("reports.pictures"), left ? t("reports.left_out", { pictures: count(report.pictures), count: count(left) }) : count(report.pictures)],
      [t("reports.size"), size(report.size)],
      [t("reports.sha256"), report.sha256],
    ]),
    report.notes.map((each) => el("p", { class: "problem" }, each)),
  ].flat();
}

async function write(event) {
  event.preventDefault();
  const result = part("report-result");
  const asked = wanted();
  if (typeof asked === "string") {
    result.replaceChildren(el("p", { class: "problem" }, asked));
    return;
  }
  part("report-write").disabled = true;
  result.replaceChildren(el("p", {}, t("reports.writing")));
  try {
    result.replaceChildren(...told(await send("POST", "/reports", asked)));
    await list();
  } catch (error) {
    result.replaceChildren(el("p", { class: "problem" }, error.message));
  } finally {
    part("report-write").disabled = false;
  }
}

async function list({ more = false } = {}) {
  const found = await get("/reports", { limit: 20, cursor: more ? cursor : "" });
  cursor = found.next;
  const lines = found.items.map((each) => el("li", {}, link(each.name), " ", el("span", { class: "faint" }, `${time(each.written_at)}, ${size(each.size)}`)));
  if (more) part("written").append(...lines);
  else part("written").replaceChildren(...lines);
  part("no-reports").hidden = found.total > 0;
  part("more-reports").hidden = !cursor;
}

function tellNumber() {
  part("of-pictures-label").textContent = t("reports.of_pictures", { count: count(selected().length) });
}

// An HTML file with more pictures opens slowly; the other forms hold all.
function offerLimit() {
  part("report-limit").value = part("report-form").value === "html" ? HTML_PICTURES : "";
}

export function startReports() {
  part("more-reports").addEventListener("click", () => list({ more: true }));
  list();
  if (!part("report")) return;
  tellNumber();
  offerLimit();
  document.addEventListener("selection", tellNumber);
  part("report-form").addEventListener("change", offerLimit);
  part("report").addEventListener("submit", write);
  if (search) {
    part("of-search-line").hidden = false;
    part("of-search").checked = true;
  }
}

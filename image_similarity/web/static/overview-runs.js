// All runs, newest first, each with the sum in which every file that it saw stands exactly once.

import { get } from "./api.js";
import { el, pairs } from "./dom.js";
import { count, oneDecimal, size, time } from "./numbers.js";
import { listed } from "./overview-case.js";
import { t } from "./texts.js";

const COLUMNS = ["run", "source", "began", "state", "account"];

export const mountTimes = (mount) => t(`overview.times_${mount.access_times}`);

function sum(run) {
  const skipped = Object.values(run.skipped).reduce((all, each) => all + each, 0);
  const parts = { seen: run.seen, new: run.new, duplicate: run.duplicate, unchanged: run.unchanged, failed: run.failed, skipped };
  return t("overview.sum", Object.fromEntries(Object.entries(parts).map(([name, value]) => [name, count(value)])));
}

function mounted(mount) {
  if (!mount) return null;
  if (mount.read_only) return t("overview.mount_read_only", { point: mount.point });
  return t("overview.mount_writable", { point: mount.point, times: mountTimes(mount) });
}

function details(run) {
  const rate = run.rate ? `, ${t("jobs.rate", { rate: oneDecimal(run.rate) })}` : "";
  return pairs([
    [t("overview.kind"), run.kind],
    [t("overview.root"), run.root],
    [t("overview.models"), run.models.join(", ")],
    [t("overview.work"), t("overview.work_is", { embedded: count(run.embedded), seconds: oneDecimal(run.seconds), rate })],
    [t("overview.read"), size(run.bytes_read)],
    [t("overview.skipped"), listed(run.skipped)],
    [t("overview.partial"), count(run.partial)],
    [t("overview.moved"), count(run.moved)],
    [t("overview.no_longer"), count(run.gone)],
    [t("overview.mount"), mounted(run.mount)],
  ]);
}

function row(run) {
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, run.id),
    el("td", {}, el("bdi", {}, run.source)),
    el("td", { class: "word" }, time(run.started_at)),
    el("td", { class: run.status === "failed" ? "problem" : null }, t(`overview.status.${run.status}`)),
    el(
      "td",
      {},
      sum(run),
      run.status !== "running" && !run.accounted && el("p", { class: "problem" }, t("overview.not_accounted", { id: run.id })),
      run.failed > 0 && el("div", {}, el("a", { href: `?run=${run.id}#failures` }, t("overview.see_failures"))),
      el("details", {}, el("summary", {}, t("overview.more")), details(run)),
    ),
  );
}

// Give {load}, which shows the newest of them.
export function runsList(place) {
  const body = el("tbody");
  const more = el("button", { type: "button", hidden: true }, t("frame.more"));
  const heads = COLUMNS.map((name) => el("th", { scope: "col" }, t(`overview.${name}`)));
  const region = { class: "scrolling", tabindex: 0, role: "group", "aria-labelledby": "runs-title" };
  place.append(el("div", region, el("table", {}, el("thead", {}, el("tr", {}, heads)), body)), el("p", {}, more));
  let cursor = null;

  async function next(from) {
    const found = await get("/runs", { limit: 20, cursor: from });
    if (!from) body.replaceChildren();
    body.append(...found.items.map(row));
    cursor = found.next;
    more.hidden = !cursor;
  }

  more.addEventListener("click", () => next(cursor));
  return { load: () => next("") };
}

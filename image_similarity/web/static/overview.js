// The page "overview"; see templates/overview.html.

import { get } from "./api.js";
import { el, meta } from "./dom.js";
import { begin, isOver, jobPanel, latestJob } from "./jobs.js";
import { count, oneDecimal } from "./numbers.js";
import { showCase } from "./overview-case.js";
import { failuresList } from "./overview-failures.js";
import { runsList } from "./overview-runs.js";
import { sourcesTable } from "./overview-sources.js";
import { poll } from "./poll.js";
import { say } from "./say.js";
import { t } from "./texts.js";

const BUSY = 1000;
const IDLE = 5000;
// A run stores its account every ten seconds or so.
const SILENT = 60_000;
const canWrite = meta("read-only") !== "true";

const panel = jobPanel();
const idle = el("p", { class: "faint" }, t("overview.idle"));
const elsewhere = el("div", { class: "job", hidden: true });
document.getElementById("now").append(panel.element, elsewhere, idle);

async function start(kind, sources) {
  const job = await begin(kind, { sources });
  if (job) panel.show(job);
  await again();
}

const actions = canWrite ? start : null;
const failures = failuresList(document.getElementById("failures-list"), actions);
const runs = runsList(document.getElementById("runs"));

async function load() {
  const [facts, covered] = await Promise.all([get("/case"), get("/coverage")]);
  showCase(facts, covered);
  sourcesTable(document.getElementById("sources"), covered, actions);
  await Promise.all([failures.load(), runs.load()]);
}

function silence(run) {
  const stored = Date.parse(run.started_at) + run.seconds * 1000;
  const silent = Date.now() - stored;
  return silent > SILENT ? el("p", { class: "warning" }, t("overview.silent", { minutes: count(Math.floor(silent / 60_000)) })) : null;
}

function told(run) {
  const rate = run.rate ? t("overview.elsewhere_rate", { rate: oneDecimal(run.rate) }) : "";
  return t("overview.elsewhere", { id: run.id, source: run.source, seen: count(run.seen), failed: count(run.failed), rate });
}

// A run that another process began: its account is stored with every batch.
function showElsewhere(found, job) {
  const others = found.filter((run) => isOver(job) || job.progress?.source !== run.source);
  elsewhere.hidden = !others.length;
  elsewhere.replaceChildren(...others.flatMap((run) => [el("p", { class: "what" }, told(run)), silence(run)].filter(Boolean)));
  return others;
}

let working = null;
let watched = new Map();

const again = poll(async () => {
  const [job, found] = await Promise.all([latestJob(), get("/runs", { status: "running" })]);
  panel.show(job);
  const others = showElsewhere(found.items, job);
  const busy = !isOver(job) || found.items.length > 0;
  idle.hidden = busy;
  for (const [id, run] of watched) {
    if (others.some((each) => each.id === id)) continue;
    const ended = await get(`/runs/${id}`);
    if (ended.status !== "running") say(t("overview.run_over", { source: run.source, status: t(`overview.status.${ended.status}`) }));
  }
  watched = new Map(others.map((run) => [run.id, run]));
  // What was begun or ended since the last look changes what the tables say.
  const now = `${job?.id} ${isOver(job)} ${job?.runs.length} ${found.items.map((run) => run.id)}`;
  if (now !== working) await load();
  working = now;
  return busy ? BUSY : IDLE;
});

// Long work that the page begins: how far it is, and a button that stops it.

import { get, send } from "./api.js";
import { el } from "./dom.js";
import { count, oneDecimal } from "./numbers.js";
import { problem, say } from "./say.js";
import { t } from "./texts.js";

export const isOver = (job) => !job || ["done", "stopped", "failed"].includes(job.state);

// The latest job of this page, or null.
export async function latestJob() {
  return (await get("/jobs", { limit: 1 })).items[0] ?? null;
}

// Begin one; what hinders it is told. Gives the job, or null.
export async function begin(kind, asked = {}) {
  try {
    const job = await send("POST", "/jobs", { kind, ...asked });
    say(t("jobs.begun"));
    return job;
  } catch (error) {
    problem(error);
    return null;
  }
}

function timeLeft(seconds) {
  if (seconds < 90) return t("jobs.seconds", { count: count(Math.ceil(seconds)) });
  if (seconds < 90 * 60) return t("jobs.minutes", { count: count(Math.round(seconds / 60)) });
  return t("jobs.hours", { count: oneDecimal(seconds / 3600) });
}

function heading(job) {
  const what = t(`jobs.${job.kind}`);
  if (isOver(job)) return t(`jobs.${job.state}`, { what, message: `${job.message} ${job.hint && `(${job.hint})`}` });
  if (job.stopping) return t("jobs.stopping", { what });
  if (!job.progress) return t(job.state === "waiting" ? "jobs.waiting" : "jobs.looking", { what });
  return job.progress.source ? t("jobs.running", { what, source: job.progress.source }) : what;
}

function counts(job) {
  const at = job.progress;
  if (!at || isOver(job)) return "";
  const told = [t("jobs.counts", { done: count(at.done), total: count(at.total), unit: at.unit })];
  if (at.failed) told.push(t("jobs.not_taken", { count: count(at.failed) }));
  if (at.rate) told.push(t("jobs.rate", { rate: oneDecimal(at.rate) }));
  if (at.seconds_left) told.push(timeLeft(at.seconds_left));
  return told.join(" · ");
}

// Give {element, show(job)}. Its parts stay in place, so that who reads or operates them keeps the place; only the end
// is announced.
export function jobPanel() {
  const title = el("p", { class: "what", tabindex: -1 });
  const bar = el("progress", { "aria-label": t("jobs.progress"), max: 1 });
  const words = el("p", { class: "faint" });
  const notices = el("ul", { class: "faint" });
  const stop = el("button", { type: "button" }, t("jobs.stop"));
  const element = el("div", { class: "job", hidden: true }, title, bar, words, notices, el("p", {}, stop));
  let shown = null;

  stop.addEventListener("click", async () => {
    // The button goes; who operates the page by keyboard keeps the place.
    title.focus();
    show(await send("DELETE", `/jobs/${shown.id}`));
  });

  function show(job) {
    const ended = shown && !isOver(shown) && isOver(job);
    shown = job;
    element.hidden = !job;
    if (!job) return;
    title.textContent = heading(job);
    title.classList.toggle("problem", job.state === "failed");
    words.textContent = counts(job);
    notices.replaceChildren(...job.notices.map((each) => el("li", {}, each)));
    const at = job.progress;
    if (at?.total) bar.value = at.done / at.total;
    else bar.removeAttribute("value");
    bar.hidden = stop.hidden = isOver(job);
    stop.disabled = job.stopping;
    if (ended) (job.state === "failed" ? problem : say)(heading(job));
  }

  return { element, show };
}

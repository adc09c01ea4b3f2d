// What was decided, the latest first: by whom, when, of which picture; each can be withdrawn here.

import { get, send, thumbnail } from "./api.js";
import { el, meta, part } from "./dom.js";
import { count, time } from "./numbers.js";
import { say } from "./say.js";
import { t } from "./texts.js";

const readOnly = meta("read-only") === "true";
let cursor = "";
let asked = new AbortController();

async function withdraw(decision, button) {
  button.disabled = true;
  try {
    const gone = await send("DELETE", `/decisions/${decision.name}`);
    document.dispatchEvent(new CustomEvent("decided", { detail: { sha256: gone.sha256, decision: gone } }));
    say(t("decisions.was_withdrawn", { what: said(decision) }));
    part("decisions-title").focus();
  } catch (error) {
    button.disabled = false;
    throw error;
  }
}

function said({ kind, value }) {
  return kind === "verdict" ? t(`decide.${value}`) : t(`decide.said_${kind}`, { value });
}

function line(decision) {
  const { sha256, query_sha256: query } = decision;
  const button = el("button", { type: "button" }, t("decisions.withdraw"));
  button.addEventListener("click", () => withdraw(decision, button));
  return el(
    "li",
    { "data-sha256": sha256, class: decision.withdrawn_at && "withdrawn" },
    el("span", { class: "picture" }, el("img", { src: thumbnail(sha256, 128), alt: "", loading: "lazy", draggable: "false" })),
    el(
      "div",
      {},
      el("p", {}, el("strong", {}, el("bdi", {}, said(decision)))),
      el("p", {}, el("a", { href: `/search?sha256=${sha256}` }, el("bdi", {}, decision.place || sha256))),
      query && el("p", {}, t("decisions.of_query"), " ", el("a", { href: `/compare?query=${query}&hit=${sha256}` }, query.slice(0, 12))),
      el("p", { class: "faint" }, t("decisions.by", { time: time(decision.at), actor: decision.actor })),
      decision.withdrawn_at && el("p", { class: "faint" }, t("decisions.withdrawn_at", { time: time(decision.withdrawn_at) })),
      !decision.withdrawn_at && !readOnly && button,
    ),
  );
}

async function load({ more = false } = {}) {
  asked.abort();
  asked = new AbortController();
  const wanted = {
    kind: part("decisions-kind").value,
    tag: part("decisions-tag").value,
    withdrawn: part("decisions-withdrawn").checked ? "true" : "",
    cursor: more ? cursor : "",
  };
  const found = await get("/decisions", wanted, asked.signal);
  cursor = found.next;
  part("decisions-number").textContent = t("decisions.number", { count: count(found.total) });
  const lines = found.items.map(line);
  if (more) part("decisions").append(...lines);
  else part("decisions").replaceChildren(...lines);
  part("more-decisions").hidden = !cursor;
}

async function loadTags() {
  const { tags } = await get("/case");
  for (const id of ["decisions-tag", "report-tag"]) {
    const choice = part(id);
    if (!choice) continue;
    const { value } = choice;
    const first = [...choice.options].filter((each) => each.value === "");
    choice.replaceChildren(...first, ...tags.map((each) => el("option", { value: each }, each)));
    choice.value = tags.includes(value) ? value : (choice.options[0]?.value ?? "");
  }
}

let waiting = 0;

// Of many decisions at once the list is read once.
function decided() {
  clearTimeout(waiting);
  waiting = setTimeout(() => Promise.all([load(), loadTags()]), 100);
}

export function startDecisions() {
  part("decisions-title").tabIndex = -1;
  part("decisions-filter").addEventListener("change", () => load());
  part("decisions-filter").addEventListener("submit", (event) => event.preventDefault());
  part("more-decisions").addEventListener("click", () => load({ more: true }));
  document.addEventListener("decided", decided);
  Promise.all([load(), loadTags()]);
}

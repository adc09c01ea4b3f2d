// Care: pictures are blurred, or grey and small, until someone wants to see them. The key v shows the one in focus; the
// mouse shows the one it rests on, unless that is turned off. Having the focus alone shows nothing.

import { current } from "./current.js";
import { key } from "./keys.js";
import { say } from "./say.js";
import { t } from "./texts.js";

const NAME = "image_similarity.care";
const HOVER = "image_similarity.hover";
const WAYS = ["blur", "grey", "show"];
const root = document.documentElement;

// How pictures are covered: "blur", "grey" or "show"; pages that draw pictures themselves listen to "care" on document.
export function care() {
  return root.dataset.care;
}

function told() {
  document.dispatchEvent(new CustomEvent("care"));
}

// As it was chosen here, or in another window of this browser. What was shown before is covered again.
function follow() {
  const way = localStorage.getItem(NAME);
  root.dataset.care = WAYS.includes(way) ? way : WAYS[0];
  root.dataset.hover = localStorage.getItem(HOVER) === "off" ? "off" : "on";
  for (const each of document.querySelectorAll(".picture.revealed")) each.classList.remove("revealed");
  document.getElementById("care").value = care();
  document.getElementById("care-hover").checked = root.dataset.hover === "on";
  told();
}

function reveal() {
  const picture = current()?.querySelector(".picture");
  if (!picture) return say(t("care.no_picture"));
  const shown = picture.classList.toggle("revealed");
  told();
  return say(t(shown ? "care.revealed" : "care.covered"));
}

function chosen(event) {
  if (event.target.id === "care") localStorage.setItem(NAME, event.target.value);
  else localStorage.setItem(HOVER, event.target.checked ? "on" : "off");
  follow();
}

export function startCare() {
  follow();
  document.getElementById("care").addEventListener("change", chosen);
  document.getElementById("care-hover").addEventListener("change", chosen);
  addEventListener("storage", (event) => { if ([NAME, HOVER].includes(event.key)) follow(); });
  // What is dragged would hang on the mouse as it is, not covered.
  document.addEventListener("dragstart", (event) => { if (event.target.closest?.(".picture")) event.preventDefault(); });
  key("v", t("keys.reveal"), reveal);
}

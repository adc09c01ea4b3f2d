// Care: pictures are blurred or grey until someone wants to see them. Hovering shows one, the key v one in focus.

import { key } from "./keys.js";
import { say } from "./say.js";
import { t } from "./texts.js";

const NAME = "image_similarity.care";
const WAYS = ["blur", "grey", "show"];

// How pictures are covered: "blur", "grey" or "show"; pages that draw pictures themselves listen to "care" on document.
export function care() {
  return document.documentElement.dataset.care;
}

function set(way) {
  document.documentElement.dataset.care = WAYS.includes(way) ? way : WAYS[0];
  document.dispatchEvent(new CustomEvent("care"));
}

function reveal(target) {
  const picture = target?.closest?.("[data-sha256]")?.querySelector(".picture") ?? target?.closest?.(".picture");
  if (!picture) return;
  const shown = picture.classList.toggle("revealed");
  say(t(shown ? "care.revealed" : "care.covered"));
}

export function startCare() {
  const choice = document.getElementById("care");
  set(localStorage.getItem(NAME));
  choice.value = care();
  choice.addEventListener("change", () => {
    localStorage.setItem(NAME, choice.value);
    set(choice.value);
  });
  key("v", t("keys.reveal"), (event) => reveal(event.target));
}

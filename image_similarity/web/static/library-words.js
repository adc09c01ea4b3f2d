// What stands below a picture of the library.

import { el } from "./dom.js";
import { t } from "./texts.js";

const LONGEST = 44;
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 0 });

// A text without its middle, if it is long: the beginning says where it lies, the end what it is called.
function shortened(text, most = LONGEST) {
  const letters = Array.from(text);
  if (letters.length <= most) return text;
  const head = Math.floor(most / 3);
  return `${letters.slice(0, head).join("")}…${letters.slice(head + 1 - most).join("")}`;
}

// Place, scene, date, and what else is known of it; tags and category are the grid's.
export function words(picture) {
  const { place, places, scene, taken } = picture;
  const facts = [
    scene && t("library.scene", { name: scene.name, probability: percent.format(scene.probability) }),
    taken && t("library.taken_at", { time: taken }),
    places > 1 && t("library.places", { count: places }),
  ].filter(Boolean);
  const known = [
    picture.gone && t("library.is_gone"),
    picture.partial && t("library.is_partial"),
    ...picture.known.map((name) => t("library.is_known", { name })),
    ...picture.verdicts.map((verdict) => t(`library.judged_${verdict}`)),
  ].filter(Boolean);
  return [
    el("p", { title: place }, el("bdi", {}, shortened(place))),
    facts.map((each) => el("p", { class: "faint" }, each)),
    known.length ? el("ul", { class: "chips" }, known.map((each) => el("li", {}, el("bdi", {}, each)))) : [],
  ].flat();
}

// What was decided of a picture, as tiles show it: verdict, category, tags.

import { el } from "./dom.js";
import { t } from "./texts.js";

// The marks of a picture {verdict, category, tags}, any of which may be missing, as elements.
export function marks({ verdict, category, tags = [] }) {
  const found = [
    verdict && el("li", { class: `mark-${verdict}` }, t(`decide.${verdict}`)),
    category && el("li", {}, t("decide.said_category", { value: category })),
    ...tags.map((each) => el("li", {}, el("bdi", {}, each))),
  ].filter(Boolean);
  return found.length ? [el("ul", { class: "chips", "aria-label": t("decide.marks") }, found)] : [];
}

// Change a picture's marks as a decision says; a verdict counts where it is on a hit of this query.
export function apply(picture, decision, query) {
  const stands = decision.withdrawn_at === null;
  const { kind, value } = decision;
  if (kind === "tag") {
    const others = (picture.tags ?? []).filter((each) => each !== value);
    picture.tags = stands ? [...others, value].sort() : others;
  } else if (kind === "category" || (kind === "verdict" && decision.query_sha256 === query)) {
    if (stands) picture[kind] = value;
    else if (picture[kind] === value) picture[kind] = "";
  }
}

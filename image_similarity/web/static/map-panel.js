// Beside a map: the picture under the pointer or the cursor, with what is known of it and where to go on.

import { get, thumbnail } from "./api.js";
import { act } from "./current.js";
import { el, pairs } from "./dom.js";
import { marks } from "./marks.js";
import { problem } from "./say.js";
import { isSelected } from "./selection.js";
import { t } from "./texts.js";

function marksOf({ decisions }) {
  const standing = decisions.filter((each) => each.withdrawn_at === null);
  return marks({
    category: standing.findLast((each) => each.kind === "category")?.value,
    tags: standing.filter((each) => each.kind === "tag").map((each) => each.value),
  });
}

// What is said of a picture in one line.
export function lineOf(record) {
  const [first] = record.places;
  const place = first ? `${first.source}:${first.path}` : record.sha256.slice(0, 12);
  const chosen = isSelected(record.sha256) ? t("map.selected") : "";
  return [place, record.scenes[0]?.name, chosen].filter(Boolean).join(", ");
}

// Give {show(sha256, {revealed, last}), shown()}; `place` is the element that it fills.
export function makePanel(place) {
  let sha256 = "";
  let control = new AbortController();

  function words(record, last) {
    const [first] = record.places;
    const scene = record.scenes[0];
    const links = [el("a", { href: `/search?sha256=${record.sha256}` }, t("map.search"))];
    if (last && last !== record.sha256) links.push(el("a", { href: `/compare?query=${last}&hit=${record.sha256}` }, t("map.compare")));
    return [
      pairs([
        [t("map.place"), first ? `${first.source}:${first.path}` : null],
        [t("map.places"), record.places.length > 1 ? String(record.places.length) : null],
        [t("map.scene"), scene ? `${scene.name} ${Math.round(100 * scene.probability)} %` : null],
        [t("map.size"), `${record.width} × ${record.height}`],
      ]),
      marksOf(record),
      el("p", { class: "map-links" }, links),
    ];
  }

  async function show(wanted, { revealed = false, last = "" } = {}) {
    control.abort();
    control = new AbortController();
    sha256 = wanted;
    try {
      const record = await get(`/pictures/${wanted}`, {}, control.signal);
      const image = el("img", { src: thumbnail(wanted), alt: "", decoding: "async" });
      const picture = el("span", { class: revealed ? "picture revealed" : "picture" }, image);
      const card = el("div", { class: "tile", "data-sha256": wanted }, picture, el("div", { class: "words" }, words(record, last)));
      place.replaceChildren(card);
      act(card);
      return record;
    } catch (error) {
      if (sha256 === wanted) problem(error);
      return null;
    }
  }

  document.addEventListener("decided", (event) => {
    if (event.detail.sha256 === sha256) show(sha256, { revealed: Boolean(place.querySelector(".revealed")) });
  });

  return { show, shown: () => sha256 };
}

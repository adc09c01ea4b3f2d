// Beside a map: the picture under the pointer or the cursor, with what is known of it and where to go on.

import { get, thumbnail } from "./api.js";
import { act } from "./current.js";
import { el, pairs } from "./dom.js";
import { marks } from "./marks.js";
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

// Give {show(sha256, {revealed, last}), leave(), cover(), shown()}; `place` is the element that it fills, until `signal`.
export function makePanel(place, signal) {
  let sha256 = "";
  let before = "";
  let control = new AbortController();

  function words(record) {
    const [first] = record.places;
    const scene = record.scenes[0];
    const links = [el("a", { href: `/search?sha256=${record.sha256}` }, t("map.search"))];
    if (before && before !== record.sha256) links.push(el("a", { href: `/compare?query=${before}&hit=${record.sha256}` }, t("map.compare")));
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

  // The card stands before anything is known of it: a key that is pressed at once acts on this picture, not on the one
  // before.
  function stand(revealed) {
    const image = el("img", { src: thumbnail(sha256), alt: "", decoding: "async" });
    const told = el("div", { class: "words" }, el("p", { class: "faint" }, t("frame.loading")));
    const card = el("div", { class: "tile", "data-sha256": sha256 }, el("span", { class: revealed ? "picture revealed" : "picture" }, image), told);
    place.replaceChildren(card);
    act(card);
    return told;
  }

  async function tell(told) {
    control.abort();
    control = new AbortController();
    try {
      const record = await get(`/pictures/${sha256}`, {}, control.signal);
      told.replaceChildren(...words(record).flat());
      return record;
    } catch (error) {
      if (error.name !== "AbortError") told.replaceChildren(el("p", { class: "problem" }, error.message));
      return null;
    }
  }

  function show(wanted, { revealed = false, last = "" } = {}) {
    [sha256, before] = [wanted, last];
    return tell(stand(revealed));
  }

  // There is another picture in hand, of which not even the name is known yet.
  function leave() {
    control.abort();
    sha256 = "";
    place.replaceChildren();
  }

  document.addEventListener("decided", (event) => {
    if (sha256 && event.detail.sha256 === sha256) tell(place.querySelector(".words"));
  }, { signal });

  return { show, leave, cover: () => place.querySelector(".revealed")?.classList.remove("revealed"), shown: () => sha256 };
}

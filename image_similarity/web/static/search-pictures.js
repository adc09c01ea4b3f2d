// The pictures that are searched with, at the side of the hits: covered like all, to be taken away, turned round, added to.

import { thumbnail } from "./api.js";
import { el } from "./dom.js";
import { region } from "./region.js";
import { problem } from "./say.js";
import { against, queries } from "./search-state.js";
import { t } from "./texts.js";
import { acceptDrops, uploaded } from "./upload.js";

const address = ({ kind, hash }) => (kind === "upload" ? `/api/v1/uploads/${hash}/picture?side=512` : thumbnail(hash, 512));

// One of them; `told` is what the answer says of it, null before there is one.
function card(picture, told, change) {
  const shown = el("span", { class: "picture" }, el("img", { src: address(picture), alt: "", draggable: "false", decoding: "async" }));
  if (told) shown.style.aspectRatio = `${told.width} / ${told.height}`;
  const turned = { ...picture, against: !picture.against };
  return el(
    "li",
    { class: "query", "data-sha256": picture.hash, tabindex: -1 },
    shown,
    el("p", { class: "name" }, el("bdi", {}, told?.name || t(picture.kind === "upload" ? "search.sent" : "search.of_case"))),
    el(
      "p",
      {},
      el("button", { type: "button", onclick: () => change(picture, null) }, t("search.take_away")), " ",
      el("button", { type: "button", onclick: () => change(picture, turned) }, t(picture.against ? "search.for_it" : "search.not_like")),
    ),
  );
}

// Give {element, show(state, answer)}; changed({pictures, crop}) is called with what is to be searched with instead.
export function pictures(changed) {
  const list = el("ul", { class: "queries", "aria-label": t("search.queries") });
  const ruled = el("ul", { class: "queries", "aria-label": t("search.ruled_out") });
  const ruledTitle = el("h2", {}, t("search.ruled_out"));
  const part = el("div", {});
  const as = el("select", { id: "take-as" }, ["instead", "too", "not"].map((each) => el("option", { value: each }, t(`search.as_${each}`))));
  const chooser = el("input", { type: "file", id: "choose", accept: "image/*", multiple: true, onchange: () => take([...chooser.files]) });
  const zone = el(
    "div",
    { class: "drop", role: "group", "aria-label": t("search.choose_group") },
    el("p", {}, el("label", { for: "choose" }, t("search.choose")), chooser),
    el("p", {}, el("label", { for: "take-as" }, t("search.take_as")), " ", as),
  );
  const element = el("section", { class: "asked", "aria-label": t("search.pictures") }, list, part, ruledTitle, ruled, zone);
  let state = { pictures: [] };

  async function take(files) {
    try {
      const sent = [];
      for (const file of files) sent.push({ kind: "upload", hash: (await uploaded(file)).sha256, against: as.value === "not" });
      chooser.value = "";
      add(sent, as.value === "instead");
    } catch (error) {
      problem(error);
    }
  }

  // A picture stands once, and what was just said of it holds.
  function add(more, instead = false) {
    const kept = instead ? [] : state.pictures.filter((each) => !more.some((other) => other.hash === each.hash));
    changed({ pictures: [...kept, ...more], crop: "" });
  }

  function change(picture, other) {
    changed({ pictures: state.pictures.flatMap((each) => (each !== picture ? [each] : other ? [other] : [])), crop: "" });
  }

  acceptDrops(document.getElementById("main"), take);

  return {
    element,
    add,
    show(asked, answer) {
      const inHand = document.activeElement?.id;
      state = asked;
      const told = new Map([...(answer?.queries ?? []), ...(answer?.against ?? [])].map((each) => [each.sha256, each]));
      list.replaceChildren(...queries(state).map((each) => card(each, told.get(each.hash), change)));
      ruled.replaceChildren(...against(state).map((each) => card(each, told.get(each.hash), change)));
      ruledTitle.hidden = ruled.hidden = !ruled.children.length;
      part.replaceChildren();
      if (queries(state).length === 1) {
        const form = region({ picture: list.querySelector(".picture"), crop: state.crop, choose: (crop) => changed({ crop }) });
        part.append(el("details", { open: Boolean(state.crop) }, el("summary", {}, t("region.title")), form));
      }
      // The box or the number that was being set is another element now.
      if (inHand && document.activeElement === document.body) document.getElementById(inHand)?.focus();
    },
  };
}

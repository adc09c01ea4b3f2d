// A grid of pictures: one of them is in focus, arrow keys move it. Long lists come page by page.

import { thumbnail } from "./api.js";
import { el } from "./dom.js";
import { apply, marks } from "./marks.js";
import { describe } from "./keys.js";
import { problem } from "./say.js";
import { isSelected, toggle } from "./selection.js";
import { t } from "./texts.js";

// No file holds the picture any more, or it cannot be decoded; the page "compare" says which.
function missing(event) {
  event.target.replaceWith(el("span", { class: "no-picture" }, t("frame.no_picture")));
}

// One picture: {sha256, name, …}; `words` gives what stands below it, as elements.
function tile(picture, words) {
  const made = el(
    "div",
    { class: "tile", role: "option", tabindex: -1, "data-sha256": picture.sha256, "aria-selected": isSelected(picture.sha256) ? "true" : "false" },
    el("span", { class: "picture" }, el("img", { src: thumbnail(picture.sha256), alt: "", draggable: "false", loading: "lazy", decoding: "async", onerror: missing })),
    el("div", { class: "words" }, words(picture), marks(picture)),
  );
  made.picture = picture;
  return made;
}

// Give a grid: {element, show(pictures), add(pictures), more(load), fill(many), focused(), focusFirst(), focusOn(sha256)}.
// label: its name for screen readers; words(picture): what stands below it, before what was decided of it; open(picture): on Enter or double click;
// signal: aborted when the grid is taken off the page, which would else be kept for what it listens to.
export function grid({ label, words, open = (picture) => location.assign(`/search?sha256=${picture.sha256}`), signal = undefined }) {
  const list = el("ul", { class: "grid", role: "listbox", "aria-multiselectable": "true", "aria-label": label });
  const button = el("button", { type: "button", hidden: true }, t("frame.more"));
  const element = el("div", {}, list, el("p", {}, button));
  let load = null;
  let loading = null;

  // In order, and the one that Tab comes to: of thousands, to look for them at each key would be felt.
  const all = [];
  let stop = null;

  function stopAt(made) {
    if (stop) stop.tabIndex = -1;
    stop = made;
    if (stop) stop.tabIndex = 0;
  }

  function focus(made) {
    if (!made) return;
    stopAt(made);
    made.focus();
  }

  function across() {
    return getComputedStyle(list).gridTemplateColumns.split(" ").length;
  }

  function moved(event) {
    const { at } = event.target;
    const steps = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: across, ArrowUp: () => -across(), Home: () => -at, End: () => all.length - 1 - at };
    if (!(event.key in steps)) return;
    event.preventDefault();
    focus(all[Math.min(all.length - 1, Math.max(0, at + steps[event.key]()))]);
  }

  function pressed(event) {
    const made = event.target.closest(".tile");
    if (!made || event.target !== made) return;
    // The Enter that closed a dialog, held down, is none for the picture that has the focus again.
    if (event.key === "Enter" && !event.repeat) open(made.picture);
    else if (event.key === " ") {
      event.preventDefault();
      if (!event.repeat) toggle(made.picture.sha256);
    } else moved(event);
  }

  function add(pictures) {
    const made = pictures.map((each) => tile(each, words));
    for (const each of made) each.at = all.push(each) - 1;
    list.append(...made.map((each) => el("li", { role: "presentation" }, each)));
    if (!stop && all.length) stopAt(all[0]);
  }

  async function loaded() {
    button.disabled = true;
    const wanted = load;
    try {
      const found = await wanted();
      // Another list may be shown by now.
      if (load === wanted) {
        add(found.pictures);
        more(found.more);
      }
      // Where it is still in sight nothing would tell: it is looked at anew. Not where the server refused: that would
      // ask again and again.
      sight.unobserve(button);
      sight.observe(button);
    } finally {
      loading = null;
      button.disabled = false;
    }
  }

  // The next page; who asks while it comes waits for the same.
  function next() {
    if (load) loading ??= loaded();
    return loading;
  }

  // What gives the next page, {pictures, more}; null where there is none.
  function more(following) {
    load = following;
    button.hidden = !following;
  }

  list.addEventListener("keydown", pressed);
  list.addEventListener("click", (event) => {
    const made = event.target.closest(".tile");
    if (!made || event.target.closest("a, button, input")) return;
    focus(made);
    if (event.ctrlKey || event.metaKey || event.shiftKey) toggle(made.picture.sha256);
  });
  list.addEventListener("dblclick", (event) => {
    const made = event.target.closest(".tile");
    if (made && !event.target.closest("a, button, input")) open(made.picture);
  });
  const nextOrTell = () => next()?.catch(problem);
  button.addEventListener("click", nextOrTell);
  // The next page comes before its button is seen.
  const sight = new IntersectionObserver((seen) => { if (seen.some((each) => each.isIntersecting)) nextOrTell(); }, { rootMargin: "800px" });
  sight.observe(button);
  document.addEventListener("selection", () => {
    for (const each of all) each.setAttribute("aria-selected", isSelected(each.picture.sha256) ? "true" : "false");
  }, { signal });
  document.addEventListener("decided", ({ detail }) => {
    for (const each of list.querySelectorAll(`.tile[data-sha256="${detail.sha256}"]`)) {
      apply(each.picture, detail.decision, each.closest("[data-query]")?.dataset.query);
      each.querySelector(".words").replaceChildren(...[words(each.picture), marks(each.picture)].flat());
    }
  }, { signal });
  describe("← → ↑ ↓", t("keys.move"));
  describe("Enter", t("keys.open"));
  describe("Space", t("keys.select"));

  return {
    element,
    add,
    more,
    show(pictures) {
      list.replaceChildren();
      all.length = 0;
      stopAt(null);
      more(null);
      add(pictures);
    },
    focused: () => (document.activeElement?.closest?.(".tile") ?? stop)?.picture ?? null,
    focusFirst: () => focus(all[0]),
    focusOn: (sha256) => focus(all.find((each) => each.picture.sha256 === sha256)),
    // Load pages until so many pictures are there, or all.
    async fill(many) {
      while (load && all.length < many) await next();
    },
  };
}


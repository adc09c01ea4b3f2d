// The legend of a map: its scenes with their colours and counts, any of which may be hidden.

import { el } from "./dom.js";
import { count } from "./numbers.js";
import { t } from "./texts.js";

// Give {element, isHidden(scene), isAnyHidden()}; `changed` is called when one was hidden or shown.
export function makeLegend(scenes, changed) {
  const hidden = new Set();

  function set(number, shown) {
    if (shown) hidden.delete(number);
    else hidden.add(number);
  }

  const boxes = scenes.map((scene, number) => {
    const box = el("input", { type: "checkbox", checked: true, onchange: () => { set(number, box.checked); changed(); } });
    return box;
  });

  function setAll(shown) {
    boxes.forEach((box, number) => {
      box.checked = shown;
      set(number, shown);
    });
    changed();
  }

  const lines = scenes.map((scene, number) => {
    const swatch = el("span", { class: "map-swatch", "aria-hidden": "true" });
    swatch.style.backgroundColor = scene.colour;
    return el("li", {}, el("label", {}, boxes[number], swatch, el("bdi", {}, scene.name), el("span", { class: "count" }, count(scene.pictures))));
  });
  const element = el("fieldset", { class: "map-legend" },
    el("legend", {}, t("map.legend")),
    el("p", { class: "map-buttons" },
      el("button", { type: "button", onclick: () => setAll(true) }, t("map.every")),
      el("button", { type: "button", onclick: () => setAll(false) }, t("map.no_scene"))),
    el("ul", {}, lines));
  return { element, isHidden: (scene) => hidden.has(scene), isAnyHidden: () => hidden.size > 0 };
}

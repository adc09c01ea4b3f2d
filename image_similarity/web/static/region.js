// A box on a picture, drawn with the mouse, moved and sized with the arrow keys, or given as four numbers.

import { el } from "./dom.js";
import { t } from "./texts.js";

const STEP = 2;
const LEAST = 2;
const NAMES = ["left", "top", "width", "height"];
const WHOLE = { left: 0, top: 0, width: 100, height: 100 };
const FIRST = { left: 25, top: 25, width: 50, height: 50 };

const between = (least, value, most) => Math.min(most, Math.max(least, value));

// "10%,20%,30%,40%" as a box in percent; null of anything else.
function readBox(text) {
  const parts = text.split(",").map((each) => (/^\d+(\.\d+)?%$/.test(each) ? Number.parseFloat(each) : NaN));
  if (parts.length !== 4 || parts.some(Number.isNaN)) return null;
  return fitted(Object.fromEntries(NAMES.map((name, at) => [name, parts[at]])));
}

function boxText(box) {
  return NAMES.map((name) => `${box[name]}%`).join(",");
}

// A box that lies within the picture, in whole percent, so that its text is short and the same however it was drawn.
function fitted(box) {
  const left = between(0, Math.round(box.left), 100 - LEAST);
  const top = between(0, Math.round(box.top), 100 - LEAST);
  return { left, top, width: between(LEAST, Math.round(box.width), 100 - left), height: between(LEAST, Math.round(box.height), 100 - top) };
}

// Between two points of the picture, in percent.
function spanned(from, to) {
  const left = Math.min(from.x, to.x);
  const top = Math.min(from.y, to.y);
  return fitted({ left, top, width: Math.abs(from.x - to.x), height: Math.abs(from.y - to.y) });
}

function moved(box, key, sizes) {
  const [across, down] = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[key];
  if (sizes) return fitted({ ...box, width: box.width + across, height: box.height + down });
  const left = between(0, box.left + across, 100 - box.width);
  const top = between(0, box.top + down, 100 - box.height);
  return { ...box, left, top };
}

// Draw over `picture`, the element `.picture` of a query; `crop` is the box that was searched with, or "".
// choose(text) is called with the box to search with, "" for the whole picture. Gives the form that goes with it.
export function region({ picture, crop, choose }) {
  let box = readBox(crop);
  let from = null;
  const frame = el("span", { class: "box", hidden: true });
  const field = el("span", { class: "region", id: "region", tabindex: 0, role: "application", "aria-label": t("region.label"), "aria-describedby": "region-help" }, frame);
  picture.append(field);

  const inputs = NAMES.map((name) => el("input", { type: "number", id: `region-${name}`, min: 0, max: 100, step: 1, size: 4 }));
  const said = el("p", { role: "status", class: "faint" });
  const whole = el("button", { type: "button", onclick: () => choose("") }, t("region.whole"));
  const form = el(
    "form",
    { class: "region-form", onsubmit: (event) => { event.preventDefault(); typed(); choose(boxText(box)); } },
    el("p", { id: "region-help", class: "faint" }, t("region.help")),
    el("div", { class: "numbers" }, NAMES.map((name, at) => el("label", { for: `region-${name}` }, t(`region.${name}`), " ", inputs[at]))),
    el("p", {}, el("button", {}, t("region.search")), " ", whole),
    said,
  );

  function show() {
    frame.hidden = !box;
    whole.disabled = !crop && !box;
    if (!box) return;
    for (const name of NAMES) frame.style[name] = `${box[name]}%`;
    NAMES.forEach((name, at) => { inputs[at].value = box[name]; });
  }

  function typed() {
    const given = Object.fromEntries(NAMES.map((name, at) => [name, inputs[at].value === "" ? WHOLE[name] : Number(inputs[at].value)]));
    box = fitted(given);
    show();
  }

  const at = (event) => {
    const { left, top, width, height } = field.getBoundingClientRect();
    return { x: between(0, (100 * (event.clientX - left)) / width, 100), y: between(0, (100 * (event.clientY - top)) / height, 100) };
  };
  field.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    field.setPointerCapture(event.pointerId);
    from = at(event);
  });
  field.addEventListener("pointermove", (event) => {
    if (!from) return;
    box = spanned(from, at(event));
    show();
  });
  field.addEventListener("pointerup", (event) => {
    const to = at(event);
    const drawn = from && (Math.abs(from.x - to.x) > 1 || Math.abs(from.y - to.y) > 1);
    from = null;
    if (drawn) choose(boxText(box));
  });
  field.addEventListener("pointercancel", () => { from = null; });
  field.addEventListener("keydown", (event) => {
    if (event.key.startsWith("Arrow") && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      box = box ? moved(box, event.key, event.shiftKey) : FIRST;
      show();
      said.textContent = t("region.said", box);
    } else if (event.key === "Enter" && box) {
      event.preventDefault();
      choose(boxText(box));
    } else if (event.key === "Escape" && box) {
      box = null;
      choose("");
    }
  });
  for (const input of inputs) input.addEventListener("change", typed);
  show();
  return form;
}

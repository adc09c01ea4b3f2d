// Elements. Text is always set as text: names from evidence are never read as markup.

import { t } from "./texts.js";

export const part = (id) => document.getElementById(id);

// What the page was told when it was made, by its name; "" where it was not.
export const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

// An element: attributes (on… are listeners; true is an empty one; false, null, undefined are none), then children.
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return made;
}

// A list of names and values; what has no value is left out.
export function pairs(list) {
  const told = list.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", {}, told.map(([name, value]) => [el("dt", {}, name), el("dd", {}, el("bdi", {}, value))]));
}

// A modal dialog that is closed by Escape or its buttons; `confirm` is {label, act}; who wants to know
// more listens to its "close", when `returnValue` is "confirm" or not. Focus returns where it was.
export function dialog(title, content, confirm = null) {
  const heading = el("h2", { id: "dialog-title" }, title);
  const form = el("form", { method: "dialog" }, content);
  const made = el("dialog", { "aria-labelledby": "dialog-title" }, heading, form);
  const buttons = el("p", { class: "tools" });
  if (confirm) buttons.append(el("button", { class: "primary", value: "confirm" }, confirm.label));
  buttons.append(el("button", { type: "button", onclick: () => made.close() }, t("frame.close")));
  form.append(buttons);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    made.close("confirm");
  });
  made.addEventListener("close", () => {
    const confirmed = made.returnValue === "confirm";
    made.remove();
    if (confirmed) confirm?.act?.();
  });
  document.body.append(made);
  made.showModal();
  return made;
}

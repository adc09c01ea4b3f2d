// A list of facets: groups of names with counts, of which any number may be checked. Shared by the library and the search.

import { el } from "./dom.js";
import { count } from "./numbers.js";
import { t } from "./texts.js";

// More names than this get a field to look among them; of more than MOST the field must be used.
const FEW = 12;
const MOST = 200;

function line(group, { name, count: number }, checked, id) {
  const box = el("input", { type: "checkbox", id, value: name, "data-facet": group.name });
  box.checked = checked;
  const shown = group.shown ? group.shown(name) : name;
  return el("li", {}, box, el("label", { for: id }, el("bdi", {}, shown)), el("span", { class: "count" }, count(number)));
}

// One group; `state` is {values: [{name, count}], chosen: Set, sought}.
function filled(group, state) {
  const sought = state.sought.toLocaleLowerCase();
  const shown = (name) => (group.shown ? group.shown(name) : name);
  const found = state.values.filter(({ name }) => shown(name).toLocaleLowerCase().includes(sought));
  // What is checked stands first, where it can be unchecked however long the list is.
  const ordered = [...found.filter((each) => state.chosen.has(each.name)), ...found.filter((each) => !state.chosen.has(each.name))];
  const list = el("ul", {}, ordered.slice(0, MOST).map((each, at) => line(group, each, state.chosen.has(each.name), `facet-${group.name}-${at}`)));
  const told = [list];
  if (found.length > MOST) told.push(el("p", { class: "faint" }, t("facets.more", { count: count(found.length - MOST) })));
  if (!found.length) told.push(el("p", { class: "faint" }, t("facets.none")));
  return told;
}

function made(group, change) {
  const state = { values: [], chosen: new Set(), sought: "" };
  const number = el("span", { class: "count" });
  const field = el("input", { type: "search", "aria-label": t("facets.seek", { title: group.title }), placeholder: t("facets.seek_short"), hidden: true });
  const lines = el("div", { class: "lines", role: "group", "aria-label": group.title });
  const element = el("details", { class: "facet", open: group.open ?? true }, el("summary", {}, el("h2", {}, group.title), number), field, lines);

  function draw() {
    const focused = lines.contains(document.activeElement) ? document.activeElement.value : null;
    const scrolled = lines.scrollTop;
    lines.replaceChildren(...filled(group, state));
    lines.scrollTop = scrolled;
    if (focused !== null) [...lines.querySelectorAll("input")].find((each) => each.value === focused)?.focus({ preventScroll: true });
    number.textContent = state.chosen.size ? t("facets.chosen", { count: state.chosen.size }) : "";
    field.hidden = state.values.length <= FEW;
    element.hidden = !state.values.length && !state.chosen.size;
  }

  field.addEventListener("input", () => {
    state.sought = field.value;
    draw();
  });
  lines.addEventListener("change", (event) => {
    if (event.target.checked) state.chosen.add(event.target.value);
    else state.chosen.delete(event.target.value);
    number.textContent = state.chosen.size ? t("facets.chosen", { count: state.chosen.size }) : "";
    change(group.name, [...state.chosen]);
  });
  return {
    element,
    show(values, chosen) {
      state.chosen = new Set(chosen);
      // A name that nothing has any more can still be unchecked.
      const missing = [...state.chosen].filter((name) => !values.some((each) => each.name === name));
      state.values = [...missing.map((name) => ({ name, count: 0 })), ...values];
      draw();
    },
  };
}

// Give {element, show(counts, chosen)}: both by the group's name, counts as [{name, count}], chosen as lists of names.
// groups: [{name, title, open, shown(name)}]; change(name, values) after each click. A group without names is not shown.
export function facets({ groups, change }) {
  const parts = new Map(groups.map((group) => [group.name, made(group, change)]));
  const element = el("div", { class: "facets" }, [...parts.values()].map((each) => each.element));
  return {
    element,
    show(counts, chosen = {}) {
      for (const [name, part] of parts) part.show(counts[name] ?? [], chosen[name] ?? []);
    },
  };
}

// What narrows a search: distance, scenes, sources, tags, dates, known files, and how many hits.

import { el } from "./dom.js";
import { facets } from "./facets.js";
import { count } from "./numbers.js";
import { t } from "./texts.js";

const DATE = "[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?";
const SWITCHES = ["gone", "irrelevant", "strength", "verify", "near", "exact"];
// Of one picture alone.
const OF_ONE = ["strength", "verify", "near"];

// How many of the reference pairs lie within a distance, in words; "" where the model has none.
export function closeness(reference, distance) {
  if (!reference || !Number.isFinite(distance)) return "";
  const at = Math.min(reference.unrelated.length - 1, Math.ceil(Number((distance * 100).toFixed(4))));
  return t("search.as_close", { count: count(reference.unrelated[at]), pairs: count(reference.pairs) });
}

// The scenes to ask for once others are ticked: those that the query likely shows stay what they are, further ones are
// added to them; if one of them was taken away, the names that are left.
function scenesFrom(ticked, state, answer) {
  if (!ticked.length) return ["auto"];
  const named = new Set(state.scene);
  if (answer.filter.mode !== "auto") return ticked;
  const likely = answer.filter.scenes.filter((each) => !named.has(each));
  if (!likely.every((each) => ticked.includes(each))) return ticked;
  return ["auto", ...ticked.filter((each) => !likely.includes(each))];
}

function field(name, attributes) {
  const id = `filter-${name}`;
  const input = el("input", { id, name, autocomplete: "off", ...attributes });
  return [input, el("p", {}, el("label", { for: id }, t(`search.${name}`)), " ", input)];
}

function slider(changed) {
  const range = el("input", { type: "range", id: "filter-max", min: 0, step: 0.01, "aria-describedby": "filter-max-said" });
  const said = el("p", { id: "filter-max-said", class: "faint" });
  const any = el("button", { type: "button", onclick: () => changed({ max: "" }) }, t("search.any_distance"));
  const element = el("div", {}, el("p", {}, el("label", { for: "filter-max" }, t("search.max")), range), said, el("p", {}, any));
  let reference = null;
  // Of the hits without a limit, or the limit that the address came with.
  let furthest = 0;

  function tell() {
    const words = closeness(reference, Number(range.value));
    said.textContent = [t("search.within", { distance: Number(range.value).toFixed(2) }), words].filter(Boolean).join(": ");
    range.setAttribute("aria-valuetext", said.textContent);
  }
  range.addEventListener("input", tell);
  range.addEventListener("change", () => changed({ max: Number(range.value).toFixed(2) }));
  return {
    element,
    show(state, answer, last) {
      reference = answer.reference;
      furthest = state.max === "" ? last : Math.max(furthest, last, Number(state.max));
      range.max = (Math.ceil(furthest * 100) / 100).toFixed(2);
      range.value = state.max === "" ? range.max : state.max;
      any.disabled = state.max === "";
      tell();
    },
  };
}

// Give {element, show(state, answer, counts)}; changed(part of a state) is called with each choice.
export function filters(changed) {
  let shown = null;
  const distance = slider(changed);
  const facet = facets({
    groups: [
      { name: "scene", title: t("search.scenes") },
      { name: "source", title: t("search.sources"), open: false },
      { name: "tag", title: t("search.tags"), open: false },
    ],
    change: (name, values) => changed({ [name]: name === "scene" ? scenesFrom(values, shown.state, shown.answer) : values }),
  });
  const [from, fromLine] = field("from", { pattern: DATE, placeholder: "2024-03", size: 11 });
  const [to, toLine] = field("to", { pattern: DATE, placeholder: "2024-03-31", size: 11 });
  const [under, underLine] = field("under", { maxlength: 4096 });
  const [k, kLine] = field("k", { type: "number", min: 1, max: 1000, required: true });
  const known = el("select", { id: "filter-known", name: "known" }, ["mark", "hide", "only"].map((each) => el("option", { value: each }, t(`search.known_${each}`))));
  const switches = SWITCHES.map((name) => {
    const input = el("input", { type: "checkbox", id: `filter-${name}`, name });
    return [name, input, el("p", {}, input, " ", el("label", { for: `filter-${name}` }, t(`search.${name}`)))];
  });
  const model = el("select", { id: "filter-model", name: "model" });
  const modelLine = el("p", { hidden: true }, el("label", { for: "filter-model" }, t("search.model")), " ", model);
  const form = el(
    "form",
    { class: "filters", "aria-label": t("search.filters") },
    distance.element,
    facet.element,
    el("fieldset", {}, el("legend", {}, t("search.taken")), fromLine, toLine),
    el("p", {}, el("label", { for: "filter-known" }, t("search.known")), " ", known),
    underLine,
    modelLine,
    switches.map(([, , line]) => line),
    kLine,
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    const { name, type, checked, value } = event.target;
    if (!name || !event.target.reportValidity()) return;
    changed({ [name]: type === "checkbox" ? checked : value.trim() });
  });

  return {
    element: form,
    show(state, answer, counts, models) {
      shown = { state, answer };
      distance.show(state, answer, answer.furthest ?? 0);
      const scenes = answer.scenes.filter((each) => each.searched).map((each) => each.name);
      facet.show({ scene: answer.scenes, source: counts.source, tag: counts.tag }, { scene: scenes, source: state.source, tag: state.tag });
      for (const [input, name] of [[from, "from"], [to, "to"], [under, "under"], [k, "k"], [known, "known"]]) input.value = state[name];
      for (const [name, input] of switches) {
        input.checked = state[name];
        input.disabled = OF_ONE.includes(name) && state.pictures.length > 1;
      }
      model.replaceChildren(el("option", { value: "" }, t("search.usual_model")), ...models.map((each) => el("option", { value: each.fingerprint }, each.name)));
      model.value = state.model;
      modelLine.hidden = models.length < 2;
    },
  };
}

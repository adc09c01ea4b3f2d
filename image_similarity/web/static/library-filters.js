// What the library is filtered by: it stands in the address, so that reload, Back and bookmarks keep it.

import { t } from "./texts.js";

// Filters that take any number of names, in the order of the page; `shown` is what a name is called where it is not itself.
export const FACETS = ["scene", "source", "tag", "hash_list", "category", "taken"];
const SINGLE = { under: "", taken_from: "", taken_to: "", known: "any", gone: "false" };
const ORDERS = ["path", "taken", "added"];

export const shownName = (facet, name) => (facet === "taken" && name === "undated" ? t("library.undated") : name);

// The filters and the order that an address asks for.
export function read(address) {
  const given = new URLSearchParams(address);
  const choice = Object.fromEntries(FACETS.map((name) => [name, [...new Set(given.getAll(name))]]));
  for (const [name, usual] of Object.entries(SINGLE)) choice[name] = given.get(name) || usual;
  choice.order = ORDERS.includes(given.get("order")) ? given.get("order") : ORDERS[0];
  return choice;
}

// The values to be sent to the server, or to stand in the address: without those that are as usual.
export function given(choice) {
  const found = {};
  for (const name of FACETS) if (choice[name].length) found[name] = choice[name];
  for (const [name, usual] of Object.entries(SINGLE)) if (choice[name] !== usual) found[name] = choice[name];
  return found;
}

// Each filter of a choice: {words, less}, where `less` is the choice without it.
export function chips(choice) {
  const ofFacets = FACETS.flatMap((facet) => choice[facet].map((name) => ({
    words: t(`library.chip_${facet}`, { name: shownName(facet, name) }),
    less: { ...choice, [facet]: choice[facet].filter((each) => each !== name) },
  })));
  const others = Object.entries(SINGLE).filter(([name, usual]) => choice[name] !== usual).map(([name, usual]) => ({
    words: t(name === "known" ? `library.known_${choice.known}` : `library.chip_${name}`, { name: choice[name] }),
    less: { ...choice, [name]: usual },
  }));
  return [...ofFacets, ...others];
}

// A choice of everything, in the same order.
export const everything = (choice) => ({ ...read(""), order: choice.order });

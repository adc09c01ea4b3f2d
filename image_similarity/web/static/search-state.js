// What is asked, as the address has it: so that reload, Back and a copied link ask the same.

// Of the address those that are a text each, with what they are where the address is silent.
const TEXTS = { crop: "", known: "mark", from: "", to: "", under: "", k: "100", max: "", model: "" };
const SWITCHES = ["gone", "irrelevant", "strength", "verify", "near", "exact"];
const LISTS = ["scene", "source", "tag"];
// A picture of the case, or one that was sent; "no-…" is one that hits must not be like.
const PICTURES = { sha256: ["sha256", false], upload: ["upload", false], "no-sha256": ["sha256", true], "no-upload": ["upload", true] };

// {pictures: [{kind, hash, against}], scene, source, tag: lists, crop, …: texts, gone, …: true or false}
export function read(search = location.search) {
  const asked = new URLSearchParams(search);
  const state = { pictures: [] };
  for (const [name, value] of asked) {
    const [kind, against] = PICTURES[name] ?? [];
    if (kind && /^[0-9a-f]{64}$/.test(value)) state.pictures.push({ kind, hash: value, against });
  }
  for (const name of LISTS) state[name] = asked.getAll(name).filter(Boolean);
  if (!state.scene.length) state.scene = ["auto"];
  for (const [name, usual] of Object.entries(TEXTS)) state[name] = asked.get(name) || usual;
  for (const name of SWITCHES) state[name] = asked.get(name) === "1";
  return state;
}

export function address(state) {
  const told = new URLSearchParams();
  for (const { kind, hash, against } of state.pictures) told.append(against ? `no-${kind}` : kind, hash);
  for (const name of LISTS) {
    if (name === "scene" && state.scene.join() === "auto") continue;
    for (const value of state[name]) told.append(name, value);
  }
  for (const [name, usual] of Object.entries(TEXTS)) if (state[name] && state[name] !== usual) told.set(name, state[name]);
  for (const name of SWITCHES) if (state[name]) told.set(name, "1");
  const text = told.toString();
  return text ? `/search?${text}` : "/search";
}

export const queries = (state) => state.pictures.filter((each) => !each.against);
export const against = (state) => state.pictures.filter((each) => each.against);

// What is sent to POST /searches. Of several pictures nothing is asked that is of one alone.
export function question(state) {
  const named = (pictures) => pictures.map(({ kind, hash }) => ({ [kind]: hash }));
  const one = state.pictures.length === 1;
  const part = queries(state).length === 1 && state.crop;
  return {
    queries: named(queries(state)),
    against: named(against(state)),
    crop: part || null,
    scene: state.scene,
    sources: state.source,
    tags: state.tag,
    known: state.known,
    taken_from: state.from || null,
    taken_to: state.to || null,
    under: state.under,
    k: Number(state.k),
    max_distance: state.max === "" ? null : Number(state.max),
    model: state.model,
    include_gone: state.gone,
    include_irrelevant: state.irrelevant,
    strength: one && state.strength,
    verify: one && state.verify,
    near: one && state.near && !part,
    exact: state.exact,
  };
}

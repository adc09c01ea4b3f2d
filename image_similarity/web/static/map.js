// The page "map": all pictures in a plane, similar ones near each other; see templates/map.html.

import { get, send } from "./api.js";
import { care } from "./care.js";
import { decideBar } from "./decide.js";
import { el, part } from "./dom.js";
import { describe } from "./keys.js";
import { makeDrawing, NEAR } from "./map-draw.js";
import { listen } from "./map-input.js";
import { insideOf, nextIn, rectangle } from "./map-lasso.js";
import { makeLegend } from "./map-legend.js";
import { lineOf, makePanel } from "./map-panel.js";
import { loadPoints } from "./map-points.js";
import { makeSheets } from "./map-sheets.js";
import { makeView } from "./map-view.js";
import { count } from "./numbers.js";
import { problem, say } from "./say.js";
import { deselect, isSelected, select, selected, toggle } from "./selection.js";
import { t } from "./texts.js";

const POLL_MS = 700;
// A pointer rests on a picture so long before that is shown beside the map.
const REST_MS = 200;
// While the map moves sheets are asked for so often.
const SHEETS_MS = 120;
const asked = new URLSearchParams(location.search).get("model") ?? "";

// -- laying out -----------------------------------------------------------------------------------

async function layOut(model) {
  await send("POST", "/jobs", { kind: "map", model });
  await start();
}

// How far the job is, until it is over.
async function follow(id) {
  const bar = el("progress", { "aria-label": t("map.running") });
  const stop = el("button", { type: "button", onclick: () => send("DELETE", `/jobs/${id}`) }, t("map.stop"));
  part("map-state").replaceChildren(el("p", {}, t("map.running"), " ", bar, " ", stop));
  for (;;) {
    const job = await get(`/jobs/${id}`);
    if (!["waiting", "running"].includes(job.state)) return;
    if (job.progress) [bar.max, bar.value] = [job.progress.total || 1, job.progress.done];
    await new Promise((done) => { setTimeout(done, POLL_MS); });
  }
}

function layOutButton(state, label) {
  if (!state.can_lay_out) return el("span", {}, t("map.extra"));
  return el("button", { type: "button", onclick: () => layOut(state.model.fingerprint).catch(problem) }, label);
}

// What stands above the map: what it was made of, and what could be made.
function tellState(state) {
  const lines = [];
  if (state.job?.state === "failed") lines.push(el("p", { class: "problem" }, t("map.failed", state.job)));
  if (!state.model) lines.push(el("p", {}, t("map.no_vectors")));
  else if (!state.map) {
    const pictures = count(state.model.pictures);
    lines.push(el("p", {}, t("map.none", { pictures }), " ", layOutButton(state, t("map.lay_out"))));
  } else {
    const { pictures, mapped, missing, left, perplexity, seed } = state.map;
    const made = { pictures: count(pictures), model: state.model.name, perplexity: perplexity.toPrecision(3), seed };
    const others = mapped < pictures ? ` ${t("map.sample", { mapped: count(mapped) })}` : "";
    lines.push(el("p", { class: "faint" }, t("map.made", made), others, " ", t("map.how_to_read")));
    if (missing) lines.push(el("p", {}, t("map.missing", { missing: count(missing) }), " ", layOutButton(state, t("map.again"))));
    if (left) lines.push(el("p", { class: "faint" }, t("map.left", { left: count(left) })));
  }
  part("map-state").replaceChildren(...lines, ...modelChoice(state));
}

function modelChoice({ models, model }) {
  if (models.length < 2) return [];
  const options = models.map((each) => el("option", { value: each.fingerprint, selected: each.fingerprint === model.fingerprint }, `${each.name} (${count(each.pictures)})`));
  const choice = el("select", { id: "map-model", onchange: () => location.assign(`/map?model=${choice.value}`) }, options);
  return [el("p", {}, el("label", { for: "map-model" }, t("map.model")), " ", choice)];
}

// -- the map --------------------------------------------------------------------------------------

async function show(state) {
  // A canvas of its own for each map: the listeners of one that was replaced go with it.
  const canvas = part("map").cloneNode();
  part("map").replaceWith(canvas);
  part("map-all").hidden = false;
  const points = await loadPoints(state.map);
  const colours = state.map.scenes.map((each) => each.colour);
  const chosen = new Uint8Array(points.count);
  const added = [];
  const pins = { cursor: null, lasso: null, rectangle: null, anchor: null, last: "" };
  let resting = 0;
  // The picture under the pointer, or -1.
  let rested = -1;
  let asking = 0;

  const legend = makeLegend(state.map.scenes, () => drawing.repaint());
  part("map-legend").replaceChildren(legend.element);
  const replaced = new AbortController();
  const { signal } = replaced;
  const panel = makePanel(part("map-card"), signal);
  const view = makeView(state.map.columns, state.map.rows, () => { drawing.ask(); askForSheets(); });
  const isShown = (i) => !legend.isHidden(points.scene[i]);
  const sheets = makeSheets(points, colours, {
    ground: () => drawing.ground(),
    changed: () => { drawing.ask(); tellWhole(); },
    lost: () => start().catch(problem),
  });
  const drawing = makeDrawing(canvas, points, view, sheets, colours, Object.assign(pins, {
    isShown, isAnyHidden: legend.isAnyHidden, isChosen: (i) => chosen[i] === 1,
  }));

  function askForSheets() {
    if (asking) return;
    asking = setTimeout(() => {
      asking = 0;
      sheets.want(drawing.wanted());
      tellWhole();
    }, SHEETS_MS);
  }

  // For who waits for the pictures: whether all in view are there.
  function tellWhole() {
    canvas.setAttribute("aria-busy", String(!sheets.isWhole()));
  }

  const pick = ([c, r]) => {
    const i = points.in(c, r);
    return i >= 0 && isShown(i) ? i : -1;
  };
  const atCursor = () => (pins.cursor ? pick(pins.cursor) : -1);
  const last = () => pins.last || (selected().at(-1) ?? "");

  async function tellCursor() {
    const i = atCursor();
    if (i < 0) return;
    panel.leave();
    const sha256 = await points.hash(i);
    // By now the cursor may be at another.
    if (i !== atCursor()) return;
    const record = await panel.show(sha256, { last: last() });
    if (record && i === atCursor()) part("map-told").textContent = lineOf(record);
  }

  function setCursor(i) {
    pins.cursor = [points.column[i], points.row[i]];
    view.reveal(...pins.cursor);
    drawing.ask();
    tellCursor().catch(problem);
  }

  async function take(list) {
    const hashes = await points.hashes(list);
    const fresh = hashes.filter((each) => !isSelected(each));
    select(fresh);
    // There was no room for them, which was said.
    if (!fresh.every(isSelected)) return;
    if (fresh.length) added.push(fresh);
    say(t("map.added", { inside: count(list.length), fresh: count(fresh.length), selected: count(selected().length) }));
  }

  function takeBack() {
    const fresh = added.pop();
    if (!fresh) {
      say(t("map.nothing"));
      return;
    }
    deselect(fresh);
    say(t("map.taken_back", { fresh: count(fresh.length), selected: count(selected().length) }));
  }

  async function flip(i) {
    if (i < 0) return;
    const sha256 = await points.hash(i);
    const now = toggle(sha256);
    if (now) pins.last = sha256;
    say(t(now ? "map.one_selected" : "map.one_deselected", { selected: count(selected().length) }));
  }

  function dropRectangle() {
    const was = Boolean(pins.rectangle);
    pins.rectangle = pins.anchor = null;
    drawing.ask();
    return was;
  }

  function setRectangle([dx, dy]) {
    const { columns, rows } = state.map;
    const start = pins.cursor ?? [Math.floor(view.x), Math.floor(view.y)];
    pins.anchor ??= [start, start];
    const [from, [c, r]] = pins.anchor;
    pins.anchor = [from, [Math.min(columns - 1, Math.max(0, c + dx)), Math.min(rows - 1, Math.max(0, r + dy))]];
    pins.rectangle = rectangle(...pins.anchor);
    view.reveal(...pins.anchor[1]);
    part("map-told").textContent = t("map.in_rectangle", { inside: count(insideOf(points, pins.rectangle, isShown).length) });
  }

  function hover(cell) {
    clearTimeout(resting);
    const i = cell ? pick(cell) : -1;
    canvas.classList.toggle("over", i >= 0);
    if (i !== rested) panel.cover();
    rested = i;
    if (i < 0) return;
    resting = setTimeout(async () => {
      const sha256 = await points.hash(i);
      if (rested !== i) return;
      // From afar a picture is a dot, and whoever passes over dots wants to see none.
      const revealed = view.scale >= NEAR && document.documentElement.dataset.hover === "on" && care() !== "show";
      if (sha256 !== panel.shown()) panel.show(sha256, { revealed, last: last() });
    }, REST_MS);
  }

  const open = (sha256) => location.assign(`/search?sha256=${sha256}`);
  const isLassoing = () => part("map-lasso").getAttribute("aria-pressed") === "true";
  const input = listen(canvas, view, {
    move: view.move,
    zoom: view.zoom,
    whole: view.whole,
    lasso(polygon, done) {
      pins.lasso = done ? null : polygon;
      drawing.ask();
      if (done) take(insideOf(points, polygon, isShown)).catch(problem);
    },
    click(cell, event) {
      const i = pick(cell);
      dropRectangle();
      if (i < 0) return;
      clearTimeout(resting);
      if (event.ctrlKey || event.metaKey) flip(i).catch(problem);
      setCursor(i);
    },
    open: (cell) => { if (pick(cell) >= 0) points.hash(pick(cell)).then(open, problem); },
    hover,
    step(direction, extend) {
      if (extend) {
        setRectangle(direction);
        return;
      }
      dropRectangle();
      const here = pins.cursor ?? [Math.floor(view.x), Math.floor(view.y)];
      let i = pins.cursor ? nextIn(points, here, direction, isShown) : nearest(here);
      if (i < 0) i = atCursor();
      if (i >= 0) setCursor(i);
    },
    search: () => { if (atCursor() >= 0) points.hash(atCursor()).then(open, problem); },
    toggle() {
      const polygon = pins.rectangle;
      if (dropRectangle()) take(insideOf(points, polygon, isShown)).catch(problem);
      else flip(atCursor()).catch(problem);
    },
    escape() {
      if (!input.giveUp() && !dropRectangle()) takeBack();
    },
  }, isLassoing);

  // Where the cursor begins: at the picture that is nearest to a cell.
  function nearest([c, r]) {
    let found = -1, least = Infinity;
    for (let i = 0; i < points.count; i++) {
      const far = (points.column[i] - c) ** 2 + (points.row[i] - r) ** 2;
      if (far < least && isShown(i)) [found, least] = [i, far];
    }
    return found;
  }

  async function ring() {
    const list = selected();
    const numbers = list.length ? await points.numbers(list) : [];
    chosen.fill(0);
    for (const i of numbers) chosen[i] = 1;
    drawing.repaint();
  }

  let sized = false;
  new ResizeObserver(() => {
    Object.assign(view, { width: Math.max(1, canvas.clientWidth), height: Math.max(1, canvas.clientHeight) });
    canvas.width = Math.round(view.width * devicePixelRatio);
    canvas.height = Math.round(view.height * devicePixelRatio);
    if (!sized && !view.follow()) view.whole();
    sized = true;
    view.move(0, 0);
  }).observe(canvas);

  document.addEventListener("selection", () => ring().catch(problem), { signal });
  document.addEventListener("care", () => { sheets.clear(); drawing.ask(); }, { signal });
  addEventListener("hashchange", view.follow, { signal });
  part("map-closer").onclick = () => view.zoom(1.5);
  part("map-farther").onclick = () => view.zoom(1 / 1.5);
  part("map-whole").onclick = view.whole;
  part("map-back").onclick = takeBack;
  part("map-lasso").onclick = () => {
    const on = !isLassoing();
    part("map-lasso").setAttribute("aria-pressed", String(on));
    canvas.classList.toggle("lassoing", on);
    if (on) say(t("map.lasso_told"));
  };
  await ring();
  return () => replaced.abort();
}

let forget = () => {};

async function start() {
  let state = await get("/map", { model: asked });
  if (state.state === "running") {
    await follow(state.job.id);
    state = await get("/map", { model: asked });
  }
  tellState(state);
  forget();
  if (state.map) forget = await show(state);
}

describe("← → ↑ ↓", t("map.keys.move"));
describe("Shift ← → ↑ ↓", t("map.keys.rectangle"));
describe("Enter", t("keys.open"));
describe("Space", t("map.keys.select"));
describe("Escape", t("map.keys.escape"));
describe("+ −", t("map.keys.zoom"));
describe("0", t("map.whole"));
part("map-card").after(decideBar());
await start().catch(problem);

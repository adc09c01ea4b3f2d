// Two pictures side by side, on top of each other, or wiped: zoomed and moved in step, or each for itself.

import { el } from "./dom.js";
import { t } from "./texts.js";

const STEP = 1.25;
const MOST = 40;
const FAR = 0.1;

// What is seen of a picture: how large, and how far it is moved, in widths and heights of the pane.
function whole() {
  return { scale: 1, x: 0, y: 0 };
}

// Zoom by a factor around a point of the pane, in shares of it; the picture never leaves its pane.
function zoomed({ scale, x, y }, factor, at) {
  const next = Math.min(MOST, Math.max(1, scale * factor));
  const kept = next / scale;
  return held({ scale: next, x: at.x - (at.x - x) * kept, y: at.y - (at.y - y) * kept });
}

function held({ scale, x, y }) {
  const within = (value) => Math.min(0, Math.max(1 - scale, value));
  return { scale, x: within(x), y: within(y) };
}

// One pane; `name` is "query" or "hit".
function pane(name) {
  const image = el("img", { alt: t(`compare.alt_${name}`), draggable: "false" });
  const turned = el("div", { class: "turned" }, image);
  const moved = el("div", { class: "moved" }, turned);
  const missing = el("p", { class: "missing", hidden: true });
  const picture = el("span", { class: "picture" }, moved, missing);
  const title = el("h2", { id: `pane-${name}` }, t(`compare.${name}`));
  const element = el("div", { class: "pane", tabindex: 0, role: "group", "aria-labelledby": `pane-${name}` }, title, picture);
  let seen = whole();
  const made = {
    name,
    element,
    image,
    picture,
    layer: turned,
    size: { width: 4, height: 3 },
    turn: 0,
    mirrored: false,
    get seen() { return seen; },
    set seen(value) {
      seen = value;
      moved.style.transform = `translate(${seen.x * 100}%, ${seen.y * 100}%) scale(${seen.scale})`;
      picture.classList.toggle("zoomed", seen.scale > 1);
      // Single pixels are to be seen as such.
      picture.classList.toggle("coarse", seen.scale > 8);
    },
    // Of what is shown, which of a picture that was sent is all that is known; else as it is on record.
    get shape() {
      const { naturalWidth: width, naturalHeight: height } = image;
      return width && height ? { width, height } : made.size;
    },
    // The picture's box within the pane, in pixels, before zoom and turn.
    box() {
      const { clientWidth: width, clientHeight: height } = picture;
      const scale = Math.min(width / made.shape.width, height / made.shape.height);
      return { width: made.shape.width * scale, height: made.shape.height * scale, pane: { width, height } };
    },
    // How much smaller a picture must be that lies on its side.
    fit() {
      const { width, height, pane: outer } = made.box();
      return made.turn % 180 ? Math.min(outer.width / height, outer.height / width) : 1;
    },
    turnTo(turn, mirrored) {
      [made.turn, made.mirrored] = [turn, mirrored];
      const fit = made.fit();
      turned.style.transform = `rotate(${turn}deg) scale(${mirrored ? -fit : fit}, ${fit})`;
    },
    // Where a point of the picture, in shares of it, is in the pane, in pixels.
    place(u, v) {
      const { width, height, pane: outer } = made.box();
      const fit = made.fit();
      const x = (u - 0.5) * width * (made.mirrored ? -fit : fit);
      const y = (v - 0.5) * height * fit;
      const angle = (made.turn * Math.PI) / 180;
      const across = x * Math.cos(angle) - y * Math.sin(angle) + outer.width / 2;
      const down = x * Math.sin(angle) + y * Math.cos(angle) + outer.height / 2;
      return { x: across * seen.scale + seen.x * outer.width, y: down * seen.scale + seen.y * outer.height };
    },
    // Say why there is no picture; an empty text shows the picture.
    tell(text) {
      missing.textContent = text;
      missing.hidden = !text;
      image.hidden = Boolean(text);
    },
  };
  made.seen = whole();
  return made;
}

// Give both: {element, query, hit, zoom, move, reset, link, mode, flip, wipe, onchange}.
export function panes() {
  const both = { query: pane("query"), hit: pane("hit") };
  const element = el("div", { class: "panes", "data-mode": "side" }, both.query.element, both.hit.element);
  const listeners = new Set();
  let linked = true;
  const made = {
    element,
    ...both,
    get linked() { return linked; },
    onchange: (listener) => listeners.add(listener),
    link(value) {
      linked = value;
      if (linked) each(both.query, () => both.query.seen);
    },
    // Zoom around the middle, of the pane in focus if they are not linked.
    zoom: (factor) => each(active(), (one) => zoomed(one.seen, factor, { x: 0.5, y: 0.5 })),
    move: (x, y) => each(active(), (one) => moved(one, x, y)),
    reset: () => each(active(), whole),
    mode(value) {
      element.dataset.mode = value;
      show("hit");
      told();
    },
    get shown() { return element.dataset.shown; },
    flip: () => show(element.dataset.shown === "hit" ? "query" : "hit"),
    wipe(share) {
      both.hit.picture.style.clipPath = share === null ? "" : `inset(0 0 0 ${share}%)`;
    },
    told,
  };

  const active = () => (both.hit.element.contains(document.activeElement) ? both.hit : both.query);
  const moved = ({ seen }, x, y) => held({ scale: seen.scale, x: seen.x + x, y: seen.y + y });

  function show(name) {
    element.dataset.shown = name;
  }

  function told() {
    for (const each of listeners) each();
  }

  // Change what is seen of a pane, and of the other, if they are linked.
  function each(one, change) {
    const next = change(one);
    for (const other of linked ? Object.values(both) : [one]) other.seen = next;
    told();
  }

  function at(one, event) {
    const box = one.picture.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  function wheeled(one, event) {
    if (event.ctrlKey || (one.seen.scale === 1 && event.deltaY > 0)) return;
    event.preventDefault();
    each(one, () => zoomed(one.seen, event.deltaY < 0 ? STEP : 1 / STEP, at(one, event)));
  }

  // One pointer moves, two zoom.
  function follow(one) {
    const held = new Map();
    const spread = ([first, second]) => Math.hypot(first.x - second.x, first.y - second.y);
    one.picture.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      one.element.focus({ preventScroll: true });
      one.picture.setPointerCapture(event.pointerId);
      held.set(event.pointerId, at(one, event));
    });
    one.picture.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const now = at(one, event);
      const was = held.size === 2 ? spread([...held.values()]) : 0;
      held.set(event.pointerId, now);
      if (held.size === 1) each(one, () => moved(one, now.x - before.x, now.y - before.y));
      else if (held.size === 2 && was) each(one, () => zoomed(one.seen, spread([...held.values()]) / was, now));
    });
    for (const name of ["pointerup", "pointercancel"]) one.picture.addEventListener(name, (event) => held.delete(event.pointerId));
  }

  function pressed(event) {
    const steps = { ArrowLeft: [FAR, 0], ArrowRight: [-FAR, 0], ArrowUp: [0, FAR], ArrowDown: [0, -FAR] };
    if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey || active().seen.scale === 1) return;
    event.preventDefault();
    made.move(...steps[event.key]);
  }

  for (const one of Object.values(both)) {
    one.picture.addEventListener("wheel", (event) => wheeled(one, event), { passive: false });
    one.element.addEventListener("keydown", pressed);
    one.picture.addEventListener("dblclick", (event) => each(one, () => (one.seen.scale > 1 ? whole() : zoomed(one.seen, 3, at(one, event)))));
    follow(one);
    const fit = () => {
      one.turnTo(one.turn, one.mirrored);
      told();
    };
    one.image.addEventListener("load", fit);
    new ResizeObserver(fit).observe(one.picture);
  }
  show("hit");
  return made;
}

// What is drawn over the two pictures that are compared: lines between matched points, heat maps.

import { el } from "./dom.js";

const NS = "http://www.w3.org/2000/svg";
// More lines would hide what they point at.
export const MOST_LINES = 40;
// Of a heat map, in pixels; it is smooth anyway.
const SIDE = 512;

function shape(tag, attributes, text = "") {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// Every so many of a list, so that no more than `most` are left.
export function some(list, most) {
  const step = Math.max(1, list.length / most);
  return Array.from({ length: Math.min(most, list.length) }, (_, at) => list[Math.floor(at * step)]);
}

// Lines between points of both panes: {show(points), hide()}; points are [x, y, x, y] in shares of the pictures.
export function lines(panes) {
  const svg = shape("svg", { class: "lines", "aria-hidden": "true" });
  panes.element.append(svg);
  let points = [];
  let waiting = false;

  function end(pane, u, v, outer) {
    const box = pane.picture.getBoundingClientRect();
    const { x, y } = pane.place(u, v);
    const inside = x >= 0 && y >= 0 && x <= box.width && y <= box.height;
    return { x: x + box.left - outer.left, y: y + box.top - outer.top, inside };
  }

  function mark({ x, y, inside }, number) {
    return inside ? [shape("circle", { cx: x, cy: y, r: 4 }), shape("text", { x: x + 6, y: y - 4 }, String(number))] : [];
  }

  function draw() {
    waiting = false;
    const outer = panes.element.getBoundingClientRect();
    const apart = panes.element.dataset.mode === "side";
    const found = points.flatMap(([u, v, w, z], at) => {
      const [one, other] = [end(panes.query, u, v, outer), end(panes.hit, w, z, outer)];
      const line = apart && one.inside && other.inside ? [shape("line", { x1: one.x, y1: one.y, x2: other.x, y2: other.y })] : [];
      const shown = apart ? [one, other] : [panes.shown === "hit" ? other : one];
      return [...line, ...shown.flatMap((each) => mark(each, at + 1))];
    });
    svg.replaceChildren(...found);
  }

  function soon() {
    if (waiting || !points.length) return;
    waiting = true;
    requestAnimationFrame(draw);
  }

  panes.onchange(soon);
  return {
    show(found) {
      points = found;
      draw();
    },
    soon,
  };
}

// From nothing to red: rising distance, the more the redder; where it falls, nothing.
function pixels(rows) {
  const highest = Math.max(...rows.flat(), 1e-9);
  const found = new ImageData(rows[0].length, rows.length);
  rows.flat().forEach((value, at) => found.data.set([230, 30, 20, Math.round(255 * Math.max(0, value / highest))], 4 * at));
  return found;
}

// A heat map over a pane: {show(rows), strength(share)}; no rows show none.
export function heat(pane) {
  const canvas = el("canvas", { class: "heat", "aria-hidden": "true", hidden: true });
  pane.layer.append(canvas);
  return {
    show(rows) {
      canvas.hidden = !rows.length;
      if (!rows.length) return;
      // Of the picture's own proportions, so that both fit alike into the pane.
      const { width, height } = pane.shape;
      [canvas.width, canvas.height] = [SIDE, Math.max(1, Math.round((SIDE * height) / width))];
      const small = el("canvas", { width: rows[0].length, height: rows.length });
      small.getContext("2d").putImageData(pixels(rows), 0, 0);
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(small, 0, 0, canvas.width, canvas.height);
    },
    strength(share) {
      canvas.style.opacity = share;
    },
  };
}

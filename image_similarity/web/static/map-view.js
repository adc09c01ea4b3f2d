// What of a map is in view: the cell in the middle, and how many pixels a cell has. It stands in the address.

// Nearer than this the thumbnails, which have 64 pixels, show nothing more.
const NEAREST = 128;
const MILLISECONDS = 200;

export function makeView(columns, rows, changed) {
  const view = { x: columns / 2, y: rows / 2, scale: 1, width: 1, height: 1 };
  let timer = 0;

  const fitting = () => Math.min(view.width / columns, view.height / rows) * 0.97;

  function settle() {
    view.scale = Math.min(NEAREST, Math.max(Math.min(fitting() / 2, NEAREST), view.scale));
    view.x = Math.min(columns, Math.max(0, view.x));
    view.y = Math.min(rows, Math.max(0, view.y));
    changed();
    clearTimeout(timer);
    timer = setTimeout(keep, MILLISECONDS);
  }

  function keep() {
    const text = [view.x, view.y, view.scale].map((each) => each.toFixed(2)).join(",");
    history.replaceState(history.state, "", `#${text}`);
  }

  return Object.assign(view, {
    // Where in cells a place on the canvas is, and the other way round.
    cell: (px, py) => [view.x + (px - view.width / 2) / view.scale, view.y + (py - view.height / 2) / view.scale],
    place: (c, r) => [(c - view.x) * view.scale + view.width / 2, (r - view.y) * view.scale + view.height / 2],
    move(dx, dy) {
      view.x -= dx / view.scale;
      view.y -= dy / view.scale;
      settle();
    },
    // What lies at that place on the canvas stays there.
    zoom(factor, px = view.width / 2, py = view.height / 2) {
      const [c, r] = view.cell(px, py);
      view.scale = Math.min(NEAREST, Math.max(Math.min(fitting() / 2, NEAREST), view.scale * factor));
      view.x = c - (px - view.width / 2) / view.scale;
      view.y = r - (py - view.height / 2) / view.scale;
      settle();
    },
    whole() {
      Object.assign(view, { x: columns / 2, y: rows / 2, scale: fitting() });
      settle();
    },
    // Bring a cell into view, with some of what is around it.
    reveal(c, r) {
      const [px, py] = view.place(c + 0.5, r + 0.5);
      const [w, h] = [Math.min(view.width / 3, 2 * view.scale), Math.min(view.height / 3, 2 * view.scale)];
      const out = (at, size, edge) => (at < edge ? edge - at : Math.min(0, size - edge - at));
      view.move(out(px, view.width, w), out(py, view.height, h));
    },
    // As the address says; false where it says nothing.
    follow() {
      const told = location.hash.slice(1).split(",").map(Number);
      if (told.length !== 3 || !told.every(Number.isFinite)) return false;
      [view.x, view.y, view.scale] = told;
      settle();
      return true;
    },
  });
}

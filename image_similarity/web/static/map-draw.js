// Drawing a map: from afar a dot for each picture, in one piece; near by, sheets of thumbnails; on top what is selected.

// Pixels of a cell in the picture of all dots, and how large that picture may be, in each direction.
const DOT = 4;
const LARGEST = 4096;
// From so many pixels a cell on thumbnails are drawn, and from so many the larger ones.
export const NEAR = 14;
const LARGER = 44;
// Of sheets that are kept at the size they are drawn at, in bytes.
const MOST_SCALED = 64 * 2 ** 20;

const packed = (text) => {
  const value = Number.parseInt(text.slice(1), 16);
  // As pixels lie in memory: alpha, blue, green, red.
  return (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
};

export function makeDrawing(canvas, points, view, sheets, colours, state) {
  const pen = canvas.getContext("2d", { alpha: false });
  const { columns, rows, block } = points.map;
  const dot = Math.max(1, Math.min(DOT, Math.floor(LARGEST / Math.max(columns, rows))));
  const dots = new OffscreenCanvas(columns * dot, rows * dot);
  const pixels = colours.map(packed);
  let theme = {};
  let stale = true;
  let asked = false;
  let gap = 0;
  let scaled = new Map();
  let scaledTo = 0;
  let scaledBytes = 0;

  function readTheme() {
    // light-dark() is settled by the colour of something, not by the variable itself.
    const settled = (name) => {
      canvas.style.color = `var(--${name})`;
      const [r, g, b] = getComputedStyle(canvas).color.match(/\d+/g).map(Number);
      return `#${[r, g, b].map((each) => each.toString(16).padStart(2, "0")).join("")}`;
    };
    theme = { ground: settled("ground"), ink: settled("ink"), accent: settled("accent") };
    canvas.style.color = "";
    stale = true;
  }

  // Between dots; made smaller, gaps would become a pattern that is in no picture.
  const wantedGap = () => (dot > 2 && view.scale >= dot ? 1 : 0);

  // All dots, drawn into one picture whenever what they show changes; a frame then takes one call.
  function paintDots() {
    const brush = dots.getContext("2d");
    const image = brush.createImageData(dots.width, dots.height);
    const memory = new Uint32Array(image.data.buffer);
    gap = wantedGap();
    const ring = packed(theme.ink);
    const fill = (x, y, size, colour) => {
      for (let line = y; line < y + size; line++) memory.fill(colour, line * dots.width + x, line * dots.width + x + size);
    };
    for (let i = 0; i < points.count; i++) {
      if (!state.isShown(i)) continue;
      const [x, y, own] = [points.column[i] * dot, points.row[i] * dot, pixels[points.scene[i]]];
      if (!state.isChosen(i)) fill(x, y, dot - gap, own);
      else {
        fill(x, y, dot, ring);
        if (dot > 2) fill(x + 1, y + 1, dot - 2, own);
      }
    }
    brush.putImageData(image, 0, 0);
    stale = false;
  }

  function drawDots() {
    if (stale || gap !== wantedGap()) paintDots();
    const [left, top] = view.cell(0, 0);
    const share = dot / view.scale;
    pen.imageSmoothingEnabled = view.scale < dot;
    // What lies beyond the edge of the picture is left out by the browser.
    pen.drawImage(dots, left * dot, top * dot, view.width * share, view.height * share, 0, 0, view.width, view.height);
  }

  // The cells in view: [first column, first row, last column, last row].
  function inView() {
    const [left, top] = view.cell(0, 0).map(Math.floor);
    const [right, bottom] = view.cell(view.width, view.height).map(Math.floor);
    return [Math.max(0, left), Math.max(0, top), Math.min(columns - 1, right), Math.min(rows - 1, bottom)];
  }

  function eachInView(act) {
    const [left, top, right, bottom] = inView();
    for (let r = top; r <= bottom; r++) {
      for (let c = left; c <= right; c++) {
        const i = points.in(c, r);
        if (i >= 0) act(i, ...view.place(c, r));
      }
    }
  }

  const side = () => (view.scale * devicePixelRatio > LARGER ? 64 : 32);

  // The sheets in view, from the middle outwards.
  function wanted() {
    if (view.scale < NEAR) return [];
    const [left, top, right, bottom] = inView().map((each) => Math.floor(each / block));
    const found = [];
    for (let r = top; r <= bottom; r++) {
      for (let c = left; c <= right; c++) {
        const number = r * points.across + c;
        const far = Math.hypot((c + 0.5) * block - view.x, (r + 0.5) * block - view.y);
        if (points.blocks.has(number)) found.push({ number, side: side(), c, r, far });
      }
    }
    return found.sort((a, b) => a.far - b.far);
  }

  // A sheet at the very size that it is drawn at: to move it is then to copy it, where scaling takes ten times as long.
  function atSize(sheet, size) {
    const known = scaled.get(sheet);
    if (known) return known;
    const made = new OffscreenCanvas(size, size);
    const brush = made.getContext("2d", { alpha: false });
    brush.imageSmoothingQuality = size < sheet.width / 2 ? "medium" : "low";
    brush.drawImage(sheet, 0, 0, size, size);
    scaled.set(sheet, made);
    scaledBytes += 4 * size * size;
    for (const [old, each] of scaled) {
      if (scaledBytes <= MOST_SCALED) break;
      scaledBytes -= 4 * each.width * each.height;
      scaled.delete(old);
    }
    return made;
  }

  // Of sheets [sheet, column, row]; while one zooms, all are scaled with each frame.
  function drawSheets(found) {
    const size = Math.round(block * view.scale * devicePixelRatio);
    const isStill = size === scaledTo;
    if (!isStill) [scaled, scaledTo, scaledBytes] = [new Map(), size, 0];
    pen.imageSmoothingEnabled = true;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    for (const [sheet, c, r] of found) {
      const [x, y] = view.place(c * block, r * block).map((each) => Math.round(each * devicePixelRatio));
      if (isStill) pen.drawImage(atSize(sheet, size), x, y);
      else pen.drawImage(sheet, x, y, size, size);
    }
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    if (!state.isAnyHidden()) return;
    pen.fillStyle = theme.ground;
    eachInView((i, x, y) => { if (!state.isShown(i)) pen.fillRect(x, y, view.scale + 0.5, view.scale + 0.5); });
  }

  function drawRings() {
    const s = view.scale;
    const width = Math.min(5, Math.max(2, s * 0.08));
    pen.beginPath();
    eachInView((i, x, y) => { if (state.isChosen(i) && state.isShown(i)) pen.rect(x + width / 2, y + width / 2, s - width, s - width); });
    for (const [colour, wide] of [[theme.ground, width + 2], [theme.accent, width]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = wide;
      pen.stroke();
    }
  }

  function drawLine(polygon, closed) {
    if (!polygon || polygon.length < 2) return;
    pen.beginPath();
    for (const [c, r] of polygon) pen.lineTo(...view.place(c, r));
    if (closed) pen.closePath();
    for (const [colour, wide] of [[theme.ground, 4], [theme.ink, 2]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = wide;
      pen.stroke();
    }
  }

  function drawCursor() {
    if (!state.cursor) return;
    const s = Math.max(view.scale, 8);
    const [x, y] = view.place(state.cursor[0] + 0.5, state.cursor[1] + 0.5);
    for (const [colour, wide] of [[theme.ground, 6], [theme.ink, 3]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = wide;
      pen.strokeRect(x - s / 2, y - s / 2, s, s);
    }
  }

  function draw() {
    asked = false;
    const ratio = devicePixelRatio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = theme.ground;
    pen.fillRect(0, 0, view.width, view.height);
    const asking = wanted();
    const found = asking
      .map(({ number, c, r }) => [sheets.get(number, side()) ?? sheets.get(number, side() === 64 ? 32 : 64), c, r])
      .filter(([sheet]) => sheet);
    if (view.scale < NEAR || found.length < asking.length) drawDots();
    if (view.scale >= NEAR) {
      drawSheets(found);
      drawRings();
    }
    drawLine(state.lasso, false);
    drawLine(state.rectangle, true);
    drawCursor();
  }

  readTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readTheme();
    // They stand on the ground of the page.
    sheets.clear();
    ask();
  });

  // Draw with the next frame.
  function ask() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(draw);
  }

  return {
    ask,
    wanted,
    ground: () => theme.ground,
    // Which dots there are, or how they look, has changed.
    repaint() {
      stale = true;
      ask();
    },
  };
}

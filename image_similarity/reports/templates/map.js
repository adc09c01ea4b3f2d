"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const map = $("map"), pen = map.getContext("2d");
  const large = $("large"), big = large.getContext("2d");
  const count = data.hashes.length;
  // In shares of a cell: the gap to the next one, and the frame in the colour of the scene.
  const GAP = 0.02, FRAME = 0.04;
  const THICK = 6;  // pixels that a frame is at most, however near
  const COVERED = 5;  // pixels that are left of a covered thumbnail
  const CLICK = 4;  // a pointer that moved less was not dragged

  const at = new Int32Array(data.columns * data.rows).fill(-1);
  for (let i = 0; i < count; i++) at[data.cells[2 * i + 1] * data.columns + data.cells[2 * i]] = i;
  const selected = new Set(), hidden = new Set(), unmapped = new Set(data.unmapped);
  const view = { x: data.columns / 2, y: data.rows / 2, scale: 1 };  // middle in cells; pixels a cell
  let sheets = [], covers = [], revealed = data.reveal, current = -1, lit = -1, keyed = false;
  let width = 1, height = 1, asked = false, box = null, colours = {};

  // -- drawing ------------------------------------------------------------------------------

  const cover = (image) => {
    // Few pixels of a thumbnail are left, and no colour: drawn large it is as blurred as in the reports.
    const small = document.createElement("canvas");
    small.width = Math.max(1, Math.round(image.naturalWidth / data.tile * COVERED));
    small.height = Math.max(1, Math.round(image.naturalHeight / data.tile * COVERED));
    const brush = small.getContext("2d", { willReadFrequently: true });
    brush.imageSmoothingQuality = "high";
    brush.drawImage(image, 0, 0, small.width, small.height);
    const pixels = brush.getImageData(0, 0, small.width, small.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const [r, g, b] = pixels.data.subarray(i, i + 3);
      pixels.data.fill(0.299 * r + 0.587 * g + 0.114 * b, i, i + 3);
    }
    brush.putImageData(pixels, 0, 0);
    return small;
  };

  const drawThumbnail = (brush, i, x, y, side) => {
    const w = data.sizes[2 * i], h = data.sizes[2 * i + 1];
    const long = Math.max(w, h);
    if (!long) {
      brush.fillStyle = colours.line;
      brush.fillRect(x, y, side, side);
      return;
    }
    const wide = side * w / long, high = side * h / long;
    const [left, top] = [x + (side - wide) / 2, y + (side - high) / 2];
    const each = data.across * data.across, place = i % each;
    const sheet = (revealed ? sheets : covers)[Math.floor(i / each)];
    const share = revealed ? 1 : COVERED / data.tile;
    const sx = (place % data.across) * data.tile * share;
    const sy = Math.floor(place / data.across) * data.tile * share;
    brush.imageSmoothingEnabled = true;
    brush.drawImage(sheet, sx, sy, w * share, h * share, left, top, wide, high);
  };

  const draw = () => {
    asked = false;
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = colours.paper;
    pen.fillRect(0, 0, width, height);
    const s = view.scale, left = view.x - width / 2 / s, top = view.y - height / 2 / s;
    const lastColumn = Math.min(data.columns - 1, Math.floor(left + width / s));
    const lastRow = Math.min(data.rows - 1, Math.floor(top + height / s));
    for (let row = Math.max(0, Math.floor(top)); row <= lastRow; row++) {
      for (let column = Math.max(0, Math.floor(left)); column <= lastColumn; column++) {
        const i = at[row * data.columns + column];
        if (i >= 0 && !hidden.has(data.scene[i])) drawCell(i, (column - left) * s, (row - top) * s, s);
      }
    }
    if (box) {
      pen.strokeStyle = colours.mark;
      pen.lineWidth = 1.5;
      pen.setLineDash([5, 4]);
      pen.strokeRect(Math.min(box.x0, box.x1), Math.min(box.y0, box.y1),
        Math.abs(box.x1 - box.x0), Math.abs(box.y1 - box.y0));
      pen.setLineDash([]);
    }
    if (keyed) {
      // Who moves by keys sees which picture Enter selects.
      const [x, y] = [Math.round(width / 2), Math.round(height / 2)];
      pen.strokeStyle = colours.mark;
      pen.lineWidth = 2;
      pen.beginPath();
      for (const [dx, dy] of [[8, 0], [0, 8]]) {
        pen.moveTo(x - dx, y - dy);
        pen.lineTo(x + dx, y + dy);
      }
      pen.stroke();
    }
  };

  const drawCell = (i, x, y, s) => {
    const gap = GAP * s, frame = Math.min(THICK, FRAME * s);
    const w = data.sizes[2 * i] || 1, h = data.sizes[2 * i + 1] || 1, long = Math.max(w, h);
    const side = s - 2 * (gap + frame);
    const wide = side * w / long + 2 * frame, high = side * h / long + 2 * frame;
    const chosen = selected.has(i);
    const pale = lit >= 0 ? data.scene[i] !== lit : selected.size > 0 && !chosen;
    pen.globalAlpha = pale ? (lit >= 0 ? 0.15 : 0.45) : 1;
    pen.fillStyle = data.scenes[data.scene[i]][2];
    pen.fillRect(x + (s - wide) / 2, y + (s - high) / 2, wide, high);
    if (pale) {
      // Or the colour of the frame would show through the picture.
      const alpha = pen.globalAlpha;
      pen.globalAlpha = 1;
      pen.fillStyle = colours.paper;
      pen.fillRect(x + (s - wide) / 2 + frame, y + (s - high) / 2 + frame, wide - 2 * frame, high - 2 * frame);
      pen.globalAlpha = alpha;
    }
    drawThumbnail(pen, i, x + gap + frame, y + gap + frame, side);
    pen.globalAlpha = 1;
    if (chosen || i === current) {
      pen.strokeStyle = chosen ? colours.mark : colours.ink;
      pen.lineWidth = Math.min(THICK, Math.max(1.5, (chosen ? 0.07 : 0.04) * s));
      pen.strokeRect(x + gap, y + gap, s - 2 * gap, s - 2 * gap);
    }
  };

  const ask = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(draw);
  };

  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "paper", "line", "mark", "quiet"]) {
      colours[name] = style.getPropertyValue("--" + name).trim();
    }
  };

  // -- the picture under the pointer ----------------------------------------------------------

  const show = (i) => {
    if (i === current) return;
    current = i;
    tell();
    ask();
  };

  const tell = () => {
    const i = current;
    big.fillStyle = colours.paper;
    big.fillRect(0, 0, large.width, large.height);
    const said = i < 0 ? ["-", "-", "-", "-", ""] : [
      data.shown[i] || data.paths[i],
      data.sources[data.source[i]][1],
      data.scenes[data.scene[i]][0],
      data.hashes[i],
      [data.why[i], data.places[i] > 1 ? `lies at ${data.places[i]} places` : "",
        unmapped.has(i) ? "placed by its nearest neighbours" : ""].filter(Boolean).join("; "),
    ];
    ["path", "source", "scene", "hash", "more"].forEach((id, n) => { $(id).textContent = said[n]; });
    if (i >= 0) drawThumbnail(big, i, 0, 0, large.width);
    else if (!selected.size) $("more").textContent = "Point at a picture to see it here.";
    if (keyed) $("status").textContent = i < 0 ? "No picture in the middle" : `${said[0]}, ${said[2]}`;
  };

  const pick = (x, y) => {
    const column = Math.floor(view.x + (x - width / 2) / view.scale);
    const row = Math.floor(view.y + (y - height / 2) / view.scale);
    if (column < 0 || row < 0 || column >= data.columns || row >= data.rows) return -1;
    const i = at[row * data.columns + column];
    return i >= 0 && !hidden.has(data.scene[i]) ? i : -1;
  };

  // -- moving -----------------------------------------------------------------------------------

  const whole = () => {
    view.scale = Math.min(width / data.columns, height / data.rows) * 0.97;
    [view.x, view.y] = [data.columns / 2, data.rows / 2];
    ask();
  };

  const zoom = (factor, x = width / 2, y = height / 2) => {
    const least = Math.min(width / data.columns, height / data.rows) / 2;
    const scale = Math.min(400, Math.max(least, view.scale * factor));
    // What lies under the pointer stays there.
    view.x += (x - width / 2) * (1 / view.scale - 1 / scale);
    view.y += (y - height / 2) * (1 / view.scale - 1 / scale);
    view.scale = scale;
    ask();
  };

  const move = (dx, dy) => {
    view.x = Math.min(data.columns, Math.max(0, view.x + dx / view.scale));
    view.y = Math.min(data.rows, Math.max(0, view.y + dy / view.scale));
    ask();
  };

  const resize = () => {
    const ratio = window.devicePixelRatio || 1, before = width;
    width = Math.max(1, map.clientWidth);
    height = Math.max(1, map.clientHeight);
    map.width = Math.round(width * ratio);
    map.height = Math.round(height * ratio);
    if (before === 1) whole();
    else draw();
  };

  // -- selecting ----------------------------------------------------------------------------------

  const say = () => {
    $("status").textContent = `${selected.size} of ${count} selected`;
    $("none").disabled = $("save").disabled = !selected.size;
    ask();
  };

  const choose = (x0, y0, x1, y1) => {
    const column = (x) => Math.floor(view.x + (x - width / 2) / view.scale);
    const row = (y) => Math.floor(view.y + (y - height / 2) / view.scale);
    const [left, right] = [column(Math.min(x0, x1)), column(Math.max(x0, x1))];
    const [top, bottom] = [row(Math.min(y0, y1)), row(Math.max(y0, y1))];
    for (let i = 0; i < count; i++) {
      const c = data.cells[2 * i], r = data.cells[2 * i + 1];
      if (c >= left && c <= right && r >= top && r <= bottom && !hidden.has(data.scene[i])) selected.add(i);
    }
    say();
  };

  const toggle = (i) => {
    if (i < 0) return;
    if (!selected.delete(i)) selected.add(i);
    say();
  };

  const clear = () => {
    selected.clear();
    say();
  };

  const save = () => {
    const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
    const lines = ["path,id,source"];
    for (const i of [...selected].sort((a, b) => a - b)) {
      const [name, , root] = data.sources[data.source[i]];
      const path = `${root.replace(/\/+$/, "")}/${data.paths[i]}`;
      lines.push([path, data.hashes[i], name].map(quoted).join(","));
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = "selection.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // -- pointer and keys ---------------------------------------------------------------------------

  let drag = null;
  const spot = (event) => {
    const edge = map.getBoundingClientRect();
    return [event.clientX - edge.left, event.clientY - edge.top];
  };

  map.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const [x, y] = spot(event);
    const marks = event.shiftKey || $("marking").getAttribute("aria-pressed") === "true";
    drag = { x, y, marks, far: false, fromX: x, fromY: y };
    map.setPointerCapture(event.pointerId);
    map.classList.toggle("moving", !marks);
  });
  map.addEventListener("pointermove", (event) => {
    const [x, y] = spot(event);
    if (keyed) ask();
    keyed = false;
    if (!drag) {
      show(pick(x, y));
      return;
    }
    drag.far = drag.far || Math.hypot(x - drag.fromX, y - drag.fromY) >= CLICK;
    if (!drag.far) return;
    if (drag.marks) box = { x0: drag.fromX, y0: drag.fromY, x1: x, y1: y };
    else move(drag.x - x, drag.y - y);
    [drag.x, drag.y] = [x, y];
    ask();
  });
  const release = (event) => {
    if (!drag) return;
    const [x, y] = spot(event);
    if (event.type === "pointerup") {
      if (box) choose(box.x0, box.y0, box.x1, box.y1);
      else if (!drag.far) toggle(pick(x, y));
    }
    drag = box = null;
    map.classList.remove("moving");
    ask();
  };
  map.addEventListener("pointerup", release);
  map.addEventListener("pointercancel", release);
  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode ? 30 : 1;
    zoom(Math.exp(-event.deltaY * lines * 0.0015), ...spot(event));
    show(pick(...spot(event)));
  }, { passive: false });

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape") {
      drag = box = null;
      clear();
      return;
    }
    if (event.target !== map && event.target !== document.body) return;
    const step = STEPS[event.key];
    if (step) move(step[0] * width / 8, step[1] * height / 8);
    else if (event.key === "+" || event.key === "=") zoom(1.3);
    else if (event.key === "-") zoom(1 / 1.3);
    else if (event.key === "0" || event.key === "Home") whole();
    else if (event.key === "Enter") toggle(pick(width / 2, height / 2));
    else return;
    event.preventDefault();
    if (event.key !== "Enter") {
      keyed = true;
      show(pick(width / 2, height / 2));
    }
  });

  // -- buttons and legend ---------------------------------------------------------------------------

  const press = (button, on) => button.setAttribute("aria-pressed", String(on));
  const showPictures = (on) => {
    revealed = on;
    press($("reveal"), on);
    tell();
    ask();
  };
  $("reveal").addEventListener("click", () => showPictures(!revealed));
  $("closer").addEventListener("click", () => zoom(1.5));
  $("farther").addEventListener("click", () => zoom(1 / 1.5));
  $("whole").addEventListener("click", whole);
  $("marking").addEventListener("click", () => {
    const on = $("marking").getAttribute("aria-pressed") !== "true";
    press($("marking"), on);
    map.classList.toggle("marking", on);
  });
  $("all").addEventListener("click", () => choose(0, 0, width, height));
  $("none").addEventListener("click", clear);
  $("save").addEventListener("click", save);

  const boxes = data.scenes.map(([name, pictures, colour], number) => {
    const tick = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
    swatch.style.backgroundColor = colour;
    const label = document.createElement("label");
    label.append(tick, swatch,
      Object.assign(document.createElement("span"), { className: "name", textContent: name }),
      Object.assign(document.createElement("span"), { className: "count", textContent: pictures }));
    const item = document.createElement("li");
    item.append(label);
    $("legend").append(item);
    const light = (on) => () => {
      lit = on ? number : -1;
      ask();
    };
    label.addEventListener("pointerenter", light(true));
    label.addEventListener("pointerleave", light(false));
    tick.addEventListener("focus", light(true));
    tick.addEventListener("blur", light(false));
    tick.addEventListener("change", () => {
      if (tick.checked) hidden.delete(number);
      else hidden.add(number);
      ask();
    });
    return tick;
  });
  const tickAll = (on) => {
    boxes.forEach((tick, number) => {
      tick.checked = on;
      if (on) hidden.delete(number);
      else hidden.add(number);
    });
    ask();
  };
  $("every").addEventListener("click", () => tickAll(true));
  $("no").addEventListener("click", () => tickAll(false));

  // -- begin --------------------------------------------------------------------------------------

  readColours();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    tell();
    ask();
  });
  const images = [...$("sheets").querySelectorAll("img")];
  Promise.all(images.map((image) => image.decode())).then(() => {
    covers = images.map(cover);
    // Decoded once, where an image may be decoded again each time that it is drawn.
    return Promise.all(images.map((image) => createImageBitmap(image)));
  }).then((decoded) => {
    sheets = decoded;
    $("sheets").remove();
    new ResizeObserver(resize).observe(map);
    press($("reveal"), revealed);
    say();
    tell();
  }).catch(() => { $("status").textContent = "The pictures of this page cannot be decoded"; });
})();

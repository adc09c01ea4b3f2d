// The sheets of thumbnails of a map: those in view are loaded, a few at a time, the newest view first; those that went
// out of view meanwhile are given up. They are covered when they are loaded, as care says, and never drawn otherwise.

import { blob } from "./api.js";
import { care } from "./care.js";
import { problem } from "./say.js";

const AT_ONCE = 3;
// Of all that are kept, in bytes; a sheet of 64 pixels a cell has 4 MB.
const MOST_BYTES = 192 * 2 ** 20;
// Pixels that are left of a covered thumbnail.
const COVERED = 5;
const RETRY_MS = 3000;

// ground() is the colour that pictures stand on.
export function makeSheets(points, colours, { ground, changed, lost }) {
  const { version, block } = points.map;
  const kept = new Map();
  const loading = new Map();
  const failed = new Map();
  let wanted = [];
  let bytes = 0;

  const nameOf = ({ number, side }) => `${number} ${side}`;

  function cells(number, act) {
    const { start, end } = points.blocks.get(number);
    for (let i = start; i < end; i++) act(i, points.column[i] % block, points.row[i] % block);
  }

  // Few pixels of each are left, and no colour; or all, without colour and with less contrast.
  function covered(sheet, side, way) {
    const share = way === "blur" ? Math.min(1, COVERED / side) : 1;
    const size = Math.round(block * side * share);
    const small = new OffscreenCanvas(size, size);
    const pen = small.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(sheet, 0, 0, size, size);
    pen.globalCompositeOperation = "saturation";
    pen.fillStyle = "#808080";
    pen.fillRect(0, 0, size, size);
    pen.globalCompositeOperation = "source-over";
    pen.globalAlpha = way === "grey" ? 0.5 : 0;
    pen.fillRect(0, 0, size, size);
    return small;
  }

  // A sheet as it is drawn: its pictures, covered, each in a frame of its scene's colour; elsewhere the ground.
  function made(sheet, number, side) {
    const paper = new OffscreenCanvas(block * side, block * side);
    const pen = paper.getContext("2d", { alpha: false });
    pen.fillStyle = ground();
    pen.fillRect(0, 0, paper.width, paper.height);
    const way = care();
    const shown = way === "show" ? sheet : covered(sheet, side, way);
    pen.beginPath();
    cells(number, (_, c, r) => pen.rect(c * side + 1, r * side + 1, side - 2, side - 2));
    pen.save();
    pen.clip();
    pen.imageSmoothingQuality = "high";
    pen.drawImage(shown, 0, 0, paper.width, paper.height);
    pen.restore();
    pen.lineWidth = Math.max(1.5, side / 24);
    cells(number, (i, c, r) => {
      pen.strokeStyle = colours[points.scene[i]];
      pen.strokeRect(c * side + 1.5, r * side + 1.5, side - 3, side - 3);
    });
    return paper.transferToImageBitmap();
  }

  function keep(name, bitmap) {
    kept.set(name, bitmap);
    bytes += 4 * bitmap.width * bitmap.height;
    for (const [old, each] of kept) {
      if (bytes <= MOST_BYTES || old === name) break;
      drop(old, each);
    }
  }

  function drop(name, bitmap) {
    kept.delete(name);
    bytes -= 4 * bitmap.width * bitmap.height;
    bitmap.close();
  }

  async function load(sheet) {
    const name = nameOf(sheet);
    const control = new AbortController();
    loading.set(name, control);
    try {
      const way = care();
      const found = await createImageBitmap(await blob(`/map/sheets/${sheet.number}`, { version, side: sheet.side }, control.signal));
      if (!control.signal.aborted && way === care()) keep(name, made(found, sheet.number, sheet.side));
      found.close();
      changed();
    } catch (error) {
      if (error.name !== "AbortError") refused(name, error);
    } finally {
      if (loading.get(name) === control) loading.delete(name);
      next();
    }
  }

  function refused(name, error) {
    if (error.code === "map_changed") lost();
    else {
      failed.set(name, performance.now());
      setTimeout(next, RETRY_MS + 100);
      problem(error);
    }
  }

  const mayTry = (name) => performance.now() - (failed.get(name) ?? -Infinity) > RETRY_MS;

  function next() {
    for (const each of wanted) {
      if (loading.size >= AT_ONCE) return;
      const name = nameOf(each);
      if (!kept.has(name) && !loading.has(name) && mayTry(name)) load(each);
    }
  }

  return {
    // A sheet as it is drawn, or null where it is not there.
    get(number, side) {
      const name = nameOf({ number, side });
      const found = kept.get(name);
      if (!found) return null;
      kept.delete(name);
      kept.set(name, found);
      return found;
    },
    // Load these, [{number, side}], the first ones first; what else is on its way is given up.
    want(list) {
      wanted = list;
      const names = new Set(list.map(nameOf));
      for (const [name, control] of loading) {
        if (names.has(name)) continue;
        loading.delete(name);
        control.abort();
      }
      next();
    },
    // Care was changed: what was drawn is drawn anew.
    clear() {
      for (const [name, bitmap] of [...kept]) drop(name, bitmap);
      for (const control of loading.values()) control.abort();
      loading.clear();
      next();
    },
    // Whether all that was asked for is there.
    isWhole: () => wanted.every((each) => kept.has(nameOf(each))),
  };
}

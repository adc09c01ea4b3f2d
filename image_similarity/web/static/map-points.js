// The pictures of a map: the cell and the scene of each, and its SHA-256, which is fetched when it is wanted.

import { blob } from "./api.js";

// Of one request for hashes; the server gives up to 8,192.
const PORTION = 4096;

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export async function loadPoints(map) {
  const { version, columns, rows, block } = map;
  // Three numbers of 16 bits for each, little-endian, as is every machine that a browser runs on.
  const numbers = new Uint16Array(await (await blob("/map/points", { version })).arrayBuffer());
  const count = numbers.length / 3;
  const column = new Uint16Array(count), row = new Uint16Array(count), scene = new Uint16Array(count);
  // Which picture is in a cell, or -1; and which pictures are on a sheet.
  const at = new Int32Array(columns * rows).fill(-1);
  const blocks = new Map();
  const across = Math.ceil(columns / block);
  for (let i = 0; i < count; i++) {
    [column[i], row[i], scene[i]] = [numbers[3 * i], numbers[3 * i + 1], numbers[3 * i + 2]];
    at[row[i] * columns + column[i]] = i;
    const number = Math.floor(row[i] / block) * across + Math.floor(column[i] / block);
    if (!blocks.has(number)) blocks.set(number, { start: i, end: i });
    blocks.get(number).end = i + 1;
  }
  const portions = new Map();
  const numberOf = new Map();

  function portion(which) {
    if (!portions.has(which)) portions.set(which, fetchPortion(which).catch((error) => {
      portions.delete(which);
      throw error;
    }));
    return portions.get(which);
  }

  async function fetchPortion(which) {
    const start = which * PORTION;
    const bytes = new Uint8Array(await (await blob("/map/hashes", { version, start, count: PORTION })).arrayBuffer());
    const found = [];
    for (let from = 0; from < bytes.length; from += 32) {
      let text = "";
      for (let each = from; each < from + 32; each++) text += hex[bytes[each]];
      numberOf.set(text, start + found.length);
      found.push(text);
    }
    return found;
  }

  return {
    map, count, column, row, scene, blocks, across,
    // The picture in a cell, or -1.
    in: (c, r) => (c >= 0 && r >= 0 && c < columns && r < rows ? at[r * columns + c] : -1),
    async hash(i) {
      return (await portion(Math.floor(i / PORTION)))[i % PORTION];
    },
    async hashes(list) {
      for (const which of new Set(list.map((i) => Math.floor(i / PORTION)))) await portion(which);
      return Promise.all(list.map((i) => this.hash(i)));
    },
    // Which of some contents are on the map.
    async numbers(sha256s) {
      for (let which = 0; which * PORTION < count; which++) await portion(which);
      return sha256s.map((each) => numberOf.get(each)).filter((i) => i !== undefined);
    },
  };
}

// What is on record of two pictures, side by side; a word, not only a colour, says where they differ.

import { el } from "./dom.js";
import { count } from "./numbers.js";
import { t } from "./texts.js";

// Places and characters of one cell before the rest is folded.
const FEW = 8;
const LONG = 400;

const plain = (value) => (value === null || value === undefined || value === "" ? "" : typeof value === "string" ? value : JSON.stringify(value));

// An EXIF value may be a book.
function text(value) {
  const whole = plain(value);
  if (whole.length <= LONG) return el("bdi", {}, whole);
  return el("details", {}, el("summary", {}, el("bdi", {}, `${whole.slice(0, 80)} …`)), el("bdi", {}, whole));
}

function list(items) {
  const few = items.slice(0, FEW).map((each) => el("li", {}, each));
  const rest = items.slice(FEW).map((each) => el("li", {}, each));
  const folded = rest.length ? [el("details", {}, el("summary", {}, t("compare.more", { count: rest.length })), el("ul", {}, rest))] : [];
  return [few.length ? el("ul", {}, few) : t("compare.none"), ...folded];
}

function place({ source, path, modified, gone_since: gone }) {
  const about = [modified && t("compare.modified", { at: modified }), gone && t("compare.gone", { at: gone })].filter(Boolean).join(", ");
  return [el("bdi", {}, `${source}:${path}`), about && el("span", { class: "faint" }, ` (${about})`)];
}

const scene = ({ name, probability }) => `${name} ${probability.toFixed(2)}`;
const known = ({ list: name, category, algorithm }) => el("bdi", {}, `${name}${category ? `: ${category}` : ""} (${algorithm})`);
const decision = ({ kind, value, actor, at }) => el("bdi", {}, `${t(`compare.kind_${kind}`)}: ${value} (${actor}, ${at})`);

// What is compared: name, what of a record, how it is shown.
const ROWS = [
  ["places", ({ places }) => places.map((each) => `${each.source}:${each.path}`), ({ places }) => list(places.map(place))],
  ["sha256", ({ sha256 }) => sha256],
  ["sha1", ({ sha1 }) => sha1],
  ["md5", ({ md5 }) => md5],
  ["pdq", ({ pdq }) => pdq && t("compare.pdq_value", pdq)],
  ["size", ({ size }) => size && t("compare.bytes", { bytes: count(size) })],
  ["dimensions", ({ width, height }) => width && `${width} × ${height}`],
  ["format", ({ format, mime }) => format && `${format} (${mime})`],
  ["partial", ({ partial }) => (partial === undefined ? "" : t(partial ? "compare.yes" : "compare.no"))],
  ["scenes", ({ scenes }) => scenes.map(scene), ({ scenes }) => list(scenes.map(scene))],
  ["decisions", ({ decisions }) => decisions.map((each) => [each.kind, each.value]), ({ decisions }) => list(decisions.map(decision))],
  ["known", ({ known: lists }) => lists.map((each) => each.list), ({ known: lists }) => list(lists.map(known))],
];

function row(title, one, other, show = text, shown = [one, other]) {
  const [first, second] = [one, other].map(plain);
  const same = first === second;
  const said = first === "" && second === "" ? "" : t(same ? "compare.same" : "compare.differs");
  const cells = shown.map((each) => el("td", {}, show(each)));
  return el("tr", { class: same ? "" : "differs" }, el("th", { scope: "row" }, title), cells, el("td", { class: "said" }, said));
}

const empty = { places: [], scenes: [], decisions: [], known: [], exif: {} };

// The table of two records as /pictures gives them; null is a picture that is not in the case.
export function pairTable(query, hit) {
  const [one, other] = [query, hit].map((each) => ({ ...empty, ...each }));
  const rows = ROWS.map(([name, of, show]) => row(t(`compare.row_${name}`), of(one), of(other), show ?? text, show ? [one, other] : undefined));
  const tags = [...new Set([...Object.keys(one.exif), ...Object.keys(other.exif)])].sort();
  const exif = tags.map((tag) => row(el("bdi", {}, tag), one.exif[tag], other.exif[tag]));
  const head = ["field", "query", "hit", "said"].map((name) => el("th", { scope: "col" }, t(`compare.column_${name}`)));
  const rest = exif.length ? [el("tbody", {}, el("tr", {}, el("th", { colspan: 4, scope: "rowgroup" }, t("compare.exif"))), exif)] : [];
  return el("table", { class: "pair" }, el("caption", {}, t("compare.table")), el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows), rest);
}

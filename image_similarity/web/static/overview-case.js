// What the case is, and what of the evidence it does not hold.

import { pairs } from "./dom.js";
import { count, size, time } from "./numbers.js";
import { t } from "./texts.js";

const KINDS = ["document", "video", "archive", "audio", "empty", "folder", "file", "link", "special", "database", "other"];
// These are said also where there were none: whoever reads must not have to guess.
const ALWAYS = ["document", "video", "archive"];

export const listed = (counts, name = (each) => each) =>
  Object.entries(counts).map(([each, number]) => `${name(each)} ${count(number)}`).join(", ");

function head(found) {
  return found ? t("overview.head_is", { number: found.number, at: time(found.at), digest: found.digest }) : t("overview.no_head");
}

export function showCase(facts, covered) {
  document.getElementById("case").replaceChildren(
    pairs([
      [t("overview.number"), covered.number],
      [t("overview.case_examiner"), covered.examiner],
      [t("overview.exhibit"), covered.exhibit],
      [t("overview.notes"), covered.notes],
      [t("overview.pictures"), t("overview.pictures_at", { pictures: count(covered.pictures), files: count(covered.files) })],
      [t("overview.models"), facts.models.map((each) => `${each.name} ${count(each.vectors)}`).join(", ")],
      [t("overview.database"), t("overview.database_is", { size: size(covered.database_bytes), revision: covered.schema_revision })],
      [t("overview.head"), head(covered.head)],
    ]),
  );
  document.getElementById("uncovered").replaceChildren(pairs(uncovered(covered)));
}

function uncovered(covered) {
  const stages = listed(covered.failed, (stage) => t(`overview.stage.${stage}`));
  const kinds = KINDS.filter((kind) => ALWAYS.includes(kind) || covered.skipped[kind]);
  const formats = listed(covered.several_frames);
  return [
    [t("overview.deleted"), t("overview.deleted_is")],
    ...kinds.map((kind) => [t(`overview.kind.${kind}`), count(covered.skipped[kind] ?? 0)]),
    ...Object.keys(covered.skipped).filter((kind) => !KINDS.includes(kind)).map((kind) => [kind, count(covered.skipped[kind])]),
    [t("overview.unread"), stages ? `${count(covered.failures)} (${stages})` : count(covered.failures)],
    [t("overview.partly"), t("overview.partly_is", { count: count(covered.partial) })],
    [t("overview.frames"), formats ? t("overview.frames_is", { formats }) : t("overview.frames_none")],
    [t("overview.gone_places"), count(covered.gone)],
  ];
}

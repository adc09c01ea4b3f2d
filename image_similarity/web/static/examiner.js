// Whose decisions are made in this session: the name that the audit chain keeps with each.

import { get, send } from "./api.js";
import { dialog, el, meta } from "./dom.js";
import { say } from "./say.js";
import { t } from "./texts.js";

const ASKED = "image_similarity.examiner_asked";
let examiner = meta("examiner");
// Whoever signs in anew is asked anew: the name went with the session.
const session = meta("csrf");

// Another window of the session may have said it meanwhile.
async function read() {
  examiner = (await get("/session")).examiner;
}

// Ask for the name; the promise is kept when it is saved, or the dialog was closed without one.
export async function askExaminer() {
  await read();
  const name = el("input", { id: "examiner-name", maxlength: 100, value: examiner, autocomplete: "name" });
  const asked = dialog(t("examiner.title"), [el("label", { for: "examiner-name" }, t("examiner.label")), name], { label: t("frame.save") });
  await new Promise((closed) => asked.addEventListener("close", closed));
  if (asked.returnValue !== "confirm") return;
  const saved = await send("PUT", "/session", { examiner: name.value });
  examiner = saved.examiner;
  say(t("examiner.saved", { name: saved.examiner || t("examiner.none") }));
}

// Ask before the first decision, where no name is known; once, as no name is an answer, too.
export async function askExaminerOnce() {
  if (examiner || sessionStorage.getItem(ASKED) === session) return;
  await read();
  if (examiner) return;
  sessionStorage.setItem(ASKED, session);
  await askExaminer();
}

// What every page has: care with pictures, the examiner's name, the list of keys.

import { send } from "./api.js";
import { startCare } from "./care.js";
import { dialog, el } from "./dom.js";
import { startKeys, key, showKeys } from "./keys.js";
import { problem, say } from "./say.js";
import { t } from "./texts.js";

function meta(name) {
  return document.querySelector(`meta[name="${name}"]`)?.content ?? "";
}

function askExaminer() {
  const name = el("input", { id: "examiner-name", maxlength: 100, value: meta("examiner"), autocomplete: "name" });
  dialog(t("examiner.title"), [el("label", { for: "examiner-name" }, t("examiner.label")), name], {
    label: t("frame.save"),
    act: async () => {
      const saved = await send("PUT", "/session", { examiner: name.value });
      document.querySelector('meta[name="examiner"]').content = saved.examiner;
      say(t("examiner.saved", { name: saved.examiner || t("examiner.none") }));
    },
  });
}

if (meta("csrf")) {
  startCare();
  startKeys();
  key("?", t("keys.help"), showKeys);
  document.getElementById("keys").addEventListener("click", showKeys);
  document.getElementById("examiner").addEventListener("click", askExaminer);
  addEventListener("unhandledrejection", (event) => problem(event.reason));
}

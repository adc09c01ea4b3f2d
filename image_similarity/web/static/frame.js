// What every page has: care with pictures, the examiner's name, the list of keys.

import { startCare } from "./care.js";
import { askExaminer } from "./examiner.js";
import { startKeys, key, showKeys } from "./keys.js";
import { problem, say } from "./say.js";
import { t } from "./texts.js";

function meta(name) {
  return document.querySelector(`meta[name="${name}"]`)?.content ?? "";
}

async function signOut() {
  await fetch("/sign-out", { method: "POST", headers: { "X-CSRF-Token": meta("csrf") } });
  location.assign("/sign-in");
}

if (meta("csrf")) {
  startCare();
  startKeys();
  key("?", t("keys.help"), showKeys);
  document.getElementById("keys").addEventListener("click", showKeys);
  document.getElementById("examiner").addEventListener("click", askExaminer);
  document.getElementById("sign-out").addEventListener("click", signOut);
  addEventListener("unhandledrejection", (event) => problem(event.reason));
}

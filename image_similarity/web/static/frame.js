// What every page has: care with pictures, the examiner's name, the list of keys.

import { startCare } from "./care.js";
import { meta } from "./dom.js";
import { askExaminer } from "./examiner.js";
import { startKeys, key, showKeys } from "./keys.js";
import { problem } from "./say.js";
import { t } from "./texts.js";

// Who believes to be signed out, and is not, leaves the case open to the next one at this desk.
async function signOut() {
  const answer = await fetch("/sign-out", { method: "POST", headers: { "X-CSRF-Token": meta("csrf") } }).catch(() => null);
  if (answer?.ok || answer?.status === 401) location.assign("/sign-in");
  else problem(t("sign_out.failed"));
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

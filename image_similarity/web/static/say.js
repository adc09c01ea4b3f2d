// One line at the bottom of the page, which screen readers read, too.

const line = document.getElementById("status");
let timer = 0;

function tell(text, bad) {
  clearTimeout(timer);
  line.textContent = text;
  line.classList.toggle("problem", bad);
  if (!bad) timer = setTimeout(() => { line.textContent = ""; }, 6000);
}

export function say(text) {
  tell(text, false);
}

// What went wrong: an error or a text. It stays until something else is said.
export function problem(error) {
  if (error?.name === "AbortError") return;
  tell(error?.message ?? String(error), true);
}

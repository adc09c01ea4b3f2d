// The picture that keys and buttons act on: the one in focus, or that was last; it is outlined.

const NAME = "acting";

document.addEventListener("focusin", (event) => {
  const found = event.target.closest?.("[data-sha256]");
  if (found) act(found);
});

// Let what follows act on an element with `data-sha256`, as if it were in focus.
export function act(element) {
  for (const each of document.querySelectorAll(`.${NAME}`)) each.classList.remove(NAME);
  element.classList.add(NAME);
}

// That element; null where there is none, or what is outlined is hidden by now.
export function current() {
  const found = document.querySelector(`[data-sha256].${NAME}`);
  return found?.checkVisibility() ? found : null;
}

// Pictures from outside: dropped, pasted or chosen. They go to the server's memory of this session, never to the case.

import { upload } from "./api.js";
import { problem, say } from "./say.js";
import { t } from "./texts.js";

// Send a picture; gives {sha256, width, height, name}.
export function uploaded(file) {
  say(t("upload.sending", { name: file.name || t("upload.pasted") }));
  return upload(`/uploads?name=${encodeURIComponent((file.name || "").slice(-200))}`, file);
}

// Send a picture and search with it.
export async function searchWithFile(file) {
  try {
    const { sha256 } = await uploaded(file);
    location.assign(`/search?upload=${sha256}`);
  } catch (error) {
    problem(error);
  }
}

function files(transfer) {
  return [...(transfer?.files ?? [])];
}

// Take what is dropped on an element, or pasted anywhere on the page but into a field; take(files) gets it.
export function acceptDrops(element, take = ([file]) => searchWithFile(file)) {
  const isFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const over = (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    element.classList.add("dropping");
  };
  element.addEventListener("dragenter", over);
  element.addEventListener("dragover", over);
  element.addEventListener("dragleave", (event) => {
    if (!element.contains(event.relatedTarget)) element.classList.remove("dropping");
  });
  element.addEventListener("drop", (event) => {
    element.classList.remove("dropping");
    if (!isFile(event)) return;
    event.preventDefault();
    if (files(event.dataTransfer).length) take(files(event.dataTransfer));
  });
  // Beside the element the browser would leave the page and open the file.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => isFile(event) && event.preventDefault());
  addEventListener("paste", (event) => {
    const pasted = files(event.clipboardData);
    if (!pasted.length) return;
    event.preventDefault();
    take(pasted);
  });
}

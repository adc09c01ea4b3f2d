// What was decided in this window, to be undone from the last on; a reload does not forget it.

import { meta } from "./dom.js";

const NAME = `image_similarity.undo.${meta("case")}`;
const MOST = 200;

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(NAME)) ?? [];
  } catch {
    return [];
  }
}

// One step: {names, before, what}; names of decisions to withdraw, decisions to say again, and what to call it.
export function pushUndo(step) {
  const steps = [...read(), step].slice(-MOST);
  for (;;) {
    try {
      sessionStorage.setItem(NAME, JSON.stringify(steps));
      return;
    } catch (error) {
      // The browser keeps some MB: the oldest steps go.
      if (steps.length < 2) throw error;
      steps.shift();
    }
  }
}

// The last step; undefined where there is none.
export function lastUndo() {
  return read().at(-1);
}

// The last step was undone. What it took the place of was said again, under other names: `renamed`, old to new.
export function dropUndo(renamed) {
  const steps = read().slice(0, -1);
  for (const step of steps) step.names = step.names.map((each) => renamed.get(each) ?? each);
  sessionStorage.setItem(NAME, JSON.stringify(steps));
}

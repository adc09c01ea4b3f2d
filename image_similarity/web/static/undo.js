// What was decided in this window, to be undone from the last on; a reload does not forget it.

const NAME = `image_similarity.undo.${document.querySelector('meta[name="case"]').content}`;
const MOST = 200;

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(NAME)) ?? [];
  } catch {
    return [];
  }
}

// One step: {names, before, what}; the decisions to withdraw, what to say again, and how it is called.
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

// The last step, which is no step any more; undefined where there is none.
export function takeUndo() {
  const steps = read();
  const last = steps.pop();
  sessionStorage.setItem(NAME, JSON.stringify(steps));
  return last;
}

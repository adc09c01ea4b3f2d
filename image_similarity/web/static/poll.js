// Asking again and again, while someone looks.

import { problem } from "./say.js";

// Call `act` now, and again after as many milliseconds as it says; not while the window is hidden. Gives what asks at
// once.
export function poll(act) {
  let timer = 0;
  let asking = false;

  async function round() {
    clearTimeout(timer);
    if (asking || document.hidden) return;
    asking = true;
    let wait = 5000;
    try {
      wait = await act();
    } catch (error) {
      problem(error);
    } finally {
      asking = false;
    }
    timer = setTimeout(round, wait);
  }

  document.addEventListener("visibilitychange", round);
  round();
  return round;
}

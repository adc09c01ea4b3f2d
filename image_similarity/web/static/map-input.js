// How one moves about on a map and selects: pointer, wheel, fingers, keys. What it does is up to `act`.

// A pointer that moved less was not dragged.
const CLICK = 4;
// A line of a lasso is at least so long.
const STEP = 3;
const ZOOM = 1.3;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// act: {move, zoom, whole, lasso(polygon, done), click(cell, event), open(cell), hover(cell or null),
// step(direction, extends), search, toggle, escape}; isLassoing tells whether dragging draws.
export function listen(canvas, view, act, isLassoing) {
  const pointers = new Map();
  let drag = null;

  function spot(event) {
    const edge = canvas.getBoundingClientRect();
    return [event.clientX - edge.left, event.clientY - edge.top];
  }

  function middle() {
    const all = [...pointers.values()];
    const [x, y] = [0, 1].map((axis) => all.reduce((sum, each) => sum + each[axis], 0) / all.length);
    const wide = all.length > 1 ? Math.hypot(all[0][0] - all[1][0], all[0][1] - all[1][1]) : 0;
    return { x, y, wide };
  }

  function pressed(event) {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, spot(event));
    const lassoing = pointers.size === 1 && (event.shiftKey || isLassoing());
    if (drag?.polygon) act.lasso(null, false);
    drag = { ...middle(), from: spot(event), far: pointers.size > 1, polygon: lassoing ? [view.cell(...spot(event))] : null };
  }

  function drawn(at) {
    const [x, y] = view.place(...drag.polygon.at(-1));
    if (Math.hypot(at[0] - x, at[1] - y) < STEP) return;
    drag.polygon.push(view.cell(...at));
    act.lasso(drag.polygon, false);
  }

  function moved(event) {
    const at = spot(event);
    if (!pointers.has(event.pointerId)) return act.hover(view.cell(...at).map(Math.floor));
    pointers.set(event.pointerId, at);
    drag.far ||= Math.hypot(at[0] - drag.from[0], at[1] - drag.from[1]) >= CLICK;
    if (!drag.far) return undefined;
    if (drag.polygon) return drawn(at);
    canvas.classList.add("moving");
    const now = middle();
    act.move(now.x - drag.x, now.y - drag.y);
    if (drag.wide && now.wide) act.zoom(now.wide / drag.wide, now.x, now.y);
    return Object.assign(drag, now);
  }

  function released(event) {
    if (!pointers.delete(event.pointerId)) return;
    const ended = drag;
    canvas.classList.remove("moving");
    if (pointers.size) {
      Object.assign(drag, middle());
      return;
    }
    drag = null;
    const given = event.type === "pointerup";
    if (ended.polygon && ended.far) act.lasso(given ? ended.polygon : null, given);
    else if (given && !ended.far) act.click(view.cell(...spot(event)).map(Math.floor), event);
  }

  function keyed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const acts = { "+": () => act.zoom(ZOOM), "=": () => act.zoom(ZOOM), "-": () => act.zoom(1 / ZOOM), 0: act.whole, Home: act.whole, Enter: act.search, " ": act.toggle, Escape: act.escape };
    if (event.key in STEPS) act.step(STEPS[event.key], event.shiftKey);
    else if (event.key in acts) acts[event.key]();
    else return;
    event.preventDefault();
  }

  canvas.addEventListener("pointerdown", pressed);
  canvas.addEventListener("pointermove", moved);
  canvas.addEventListener("pointerup", released);
  canvas.addEventListener("pointercancel", released);
  canvas.addEventListener("pointerleave", () => act.hover(null));
  canvas.addEventListener("dblclick", (event) => act.open(view.cell(...spot(event)).map(Math.floor)));
  canvas.addEventListener("keydown", keyed);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode ? 30 : 1;
    act.zoom(Math.exp(-event.deltaY * lines * 0.0015), ...spot(event));
  }, { passive: false });
  return {
    // Give up a lasso that is being drawn; whether there was one.
    giveUp() {
      const was = Boolean(drag?.polygon);
      if (was) {
        pointers.clear();
        drag = null;
        act.lasso(null, false);
      }
      return was;
    },
  };
}

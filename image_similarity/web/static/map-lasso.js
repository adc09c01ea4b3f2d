// Which pictures are inside a lasso or a rectangle. Pure reckoning, in cells.

// Whether a point is inside a polygon, a list of [x, y], by the even-odd rule.
function isInside(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

// The pictures that are shown and whose middle is inside a polygon.
export function insideOf(points, polygon, isShown) {
  const xs = polygon.map(([x]) => x), ys = polygon.map(([, y]) => y);
  // Not Math.min(...xs): a long lasso has more points than a call may have arguments.
  const least = (list) => list.reduce((a, b) => Math.min(a, b)), most = (list) => list.reduce((a, b) => Math.max(a, b));
  const [left, right, top, bottom] = [least(xs), most(xs), least(ys), most(ys)];
  const found = [];
  for (let i = 0; i < points.count; i++) {
    const x = points.column[i] + 0.5, y = points.row[i] + 0.5;
    if (x < left || x > right || y < top || y > bottom || !isShown(i)) continue;
    if (isInside(polygon, x, y)) found.push(i);
  }
  return found;
}

// The corners of the rectangle that two cells span, as a polygon.
export function rectangle([c0, r0], [c1, r1]) {
  const [left, right] = [Math.min(c0, c1), Math.max(c0, c1) + 1];
  const [top, bottom] = [Math.min(r0, r1), Math.max(r0, r1) + 1];
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

// The nearest picture that is shown in a direction, rather straight on than aside; -1 if there is none.
export function nextIn(points, [column, row], [dx, dy], isShown) {
  let found = -1, least = Infinity;
  for (let i = 0; i < points.count; i++) {
    const along = (points.column[i] - column) * dx + (points.row[i] - row) * dy;
    const aside = Math.abs((points.column[i] - column) * dy) + Math.abs((points.row[i] - row) * dx);
    if (along <= 0 || aside > 2 * along || !isShown(i)) continue;
    const far = along * along + 4 * aside * aside;
    if (far < least) [found, least] = [i, far];
  }
  return found;
}

// The embedding map: every point is a test image. The nearest one to the pointer shows its picture; a lasso opens many.

const REACH = { mouse: 18, touch: 32, pen: 24 };
const GRID_LIMIT = 240;

function drawMap(element) {
  if (!data.map) return false;
  const runs = data.map.variants.map((variant) => variant.run);
  const state = { part: data.map.variants[0], by: "label", projection: "tsne", domain: "both", only: null, lasso: null, near: null };
  const canvas = h("canvas", { class: "points", tabIndex: 0, role: "application", "aria-label": "Embedding map. Arrow keys go from image to image." });
  const tip = h("div", { class: "tip picture", hidden: true });
  const legend = h("div", { class: "legend", role: "group", "aria-label": "Groups of points" });
  const grid = h("div", { id: "lasso-grid" });
  const options = (pairs, key) => {
    const select = h("select", { id: `map-${key}`, onchange: () => { state[key] = select.value; state.only = null; refresh(); } }, ...pairs.map(([value, text]) => h("option", { value }, text)));
    return select;
  };
  const byProjection = options([["tsne", "t-SNE (neighborhoods)"], ["pca", "PCA (large distances)"]], "projection");
  const touch = h("button", { type: "button", "aria-pressed": "false", onclick: () => {
    canvas.classList.toggle("lassoing");
    touch.setAttribute("aria-pressed", String(canvas.classList.contains("lassoing")));
  } }, "Lasso by touch");
  const clear = h("button", { type: "button", disabled: true, onclick: () => { state.lasso = null; refresh(); } }, "Clear lasso");
  element.append(
    h("div", { class: "controls" }, variantSelect(runs), h("label", {}, "Projection", byProjection),
      h("label", {}, "Color", options([["label", "true class (oracle for the target)"], ["prediction", "predicted class"], ["right", "right or wrong"], ["side", "domain"]], "by")),
      h("label", {}, "Domain", options([["both", "both"], ["0", `source: ${data.domains[0]}`], ["1", `target: ${data.domains[1]}`]], "domain")),
      matchMedia("(pointer: coarse)").matches ? touch : null, clear),
    h("div", { class: "mapping" }, h("div", { class: "plane" }, canvas, tip), h("div", { class: "side" }, legend)), grid);

  const groupOf = (at) => groupings[state.by].of(at, state.part);
  const groupings = {
    label: { of: (at, part) => data.map.items.label[part.cells[at]], name: className, color },
    prediction: { of: (at, part) => part.prediction[at], name: className, color },
    right: { of: (at, part) => Number(data.map.items.label[part.cells[at]] === part.prediction[at]), name: (index) => ["wrong", "right"][index], color: (index) => css(["--wrong", "--right"][index]) },
    side: { of: (at, part) => data.map.items.side[part.cells[at]], name: (index) => ["source", "target"][index], color: (index) => color(index) },
  };
  const count = () => state.part.cells.length;
  const shows = (at) => (state.domain === "both" || data.map.items.side[state.part.cells[at]] === Number(state.domain)) && (state.only === null || groupOf(at) === state.only);
  const coordinates = () => state.part[state.projection] ?? state.part.pca;
  let place = () => [0, 0];

  const paint = onSize(canvas, (context, width, height) => {
    const side = Math.min(width, height) - 24, points = coordinates();
    const stretch = Math.min(width / height, 1.3);
    place = (at) => [width / 2 + (points[2 * at] / 10000 - 0.5) * side * stretch, height / 2 - (points[2 * at + 1] / 10000 - 0.5) * side];
    context.clearRect(0, 0, width, height);
    const ink = css("--ink");
    for (const target of [0, 1]) {
      for (let at = 0; at < count(); at += 1) {
        if (data.map.items.side[state.part.cells[at]] !== target) continue;
        const inside = shows(at) && (!state.lasso || state.lasso.has(at));
        context.globalAlpha = inside ? (target ? 0.9 : 0.5) : 0.06;
        context.fillStyle = groupings[state.by].color(groupOf(at));
        mark(context, target, ...place(at), 3.2);
        context.fill();
      }
    }
    context.globalAlpha = 1;
    if (state.near !== null) {
      context.strokeStyle = ink;
      context.lineWidth = 2;
      mark(context, data.map.items.side[state.part.cells[state.near]], ...place(state.near), 6.5);
      context.stroke();
    }
    if (state.trail) {
      context.strokeStyle = css("--accent");
      context.fillStyle = css("--shade");
      context.lineWidth = 1.5;
      context.beginPath();
      state.trail.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.fill();
      context.stroke();
    }
  });

  function nearest(x, y, reach) {
    let best = null, distance = reach ** 2;
    for (let at = 0; at < count(); at += 1) {
      if (!shows(at)) continue;
      const [px, py] = place(at), d = (px - x) ** 2 + (py - y) ** 2;
      if (d < distance) [best, distance] = [at, d];
    }
    return best;
  }

  function look(at) {
    state.near = at;
    tip.hidden = at === null;
    if (at !== null) {
      const [x, y] = place(at), box = canvas.getBoundingClientRect();
      tip.replaceChildren(picture(at, "88px"), h("div", {}, ...describe(at).map((text) => h("div", {}, text))));
      tip.style.left = x < box.width / 2 ? `${x + 14}px` : "";
      tip.style.right = x < box.width / 2 ? "" : `${box.width - x + 14}px`;
      tip.style.top = `${clamp(y - 50, 0, Math.max(0, box.height - 110))}px`;
    }
    paint();
  }

  function picture(at, size) {
    const image = thumb("map", state.part.cells[at], describe(at).join(", "));
    if (size) image.style.width = image.style.height = size;
    return image;
  }

  function describe(at) {
    const cell = state.part.cells[at], { side, row, label } = data.map.items;
    const wrong = label[cell] >= 0 && label[cell] !== state.part.prediction[at];
    return [`${["source", "target"][side[cell]]}: ${className(label[cell])}`, `predicted ${className(state.part.prediction[at])}${wrong ? " ✗" : " ✓"}`, `test image ${whole(row[cell])}`];
  }

  const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const draws = (event) => event.pointerType === "mouse" || canvas.classList.contains("lassoing");
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button || !draws(event)) return look(nearest(...at(event), REACH[event.pointerType] ?? 18));
    canvas.setPointerCapture(event.pointerId);
    state.trail = [at(event)];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!state.trail) return look(nearest(...at(event), REACH[event.pointerType] ?? 18));
    state.trail.push(at(event));
    look(null);
  });
  canvas.addEventListener("pointerup", () => {
    const trail = state.trail;
    state.trail = null;
    if (trail?.length > 8) state.lasso = new Set([...Array(count()).keys()].filter((index) => shows(index) && inside(trail, place(index))));
    refresh();
  });
  canvas.addEventListener("pointercancel", () => { state.trail = null; paint(); });
  canvas.addEventListener("pointerleave", (event) => { if (!state.trail && event.pointerType === "mouse") look(null); });
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape") { state.lasso = null; state.near = null; tip.hidden = true; refresh(); }
    if (!way) return;
    event.preventDefault();
    look(state.near === null ? nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, 1e6) : next(way));
  });

  // The nearest point that lies more in this direction than across it.
  function next([dx, dy]) {
    const [x, y] = place(state.near);
    let best = state.near, least = Infinity;
    for (let other = 0; other < count(); other += 1) {
      const [px, py] = place(other), along = (px - x) * dx + (py - y) * dy;
      const across = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      if (shows(other) && along > 0.5 && along >= across && along + across < least) [best, least] = [other, along + across];
    }
    return best;
  }

  function drawLegend() {
    const groups = new Map();
    for (let index = 0; index < count(); index += 1) {
      if (state.domain !== "both" && data.map.items.side[state.part.cells[index]] !== Number(state.domain)) continue;
      const entry = groups.get(groupOf(index)) ?? { shown: 0, all: 0 };
      entry.all += 1;
      entry.shown += Number(shows(index) && (!state.lasso || state.lasso.has(index)));
      groups.set(groupOf(index), entry);
    }
    const { name, color: tone } = groupings[state.by];
    legend.replaceChildren(...[...groups].sort(([one], [other]) => one - other).map(([group, entry]) => {
      const dot = h("span", { class: "dot" });
      dot.style.background = tone(group);
      return h("button", { type: "button", "aria-pressed": String(state.only === group), onclick: () => { state.only = state.only === group ? null : group; refresh(); } },
        dot, name(group), h("span", { class: "count" }, `${whole(entry.shown)} / ${whole(entry.all)}`));
    }), h("p", { class: "about" }, "Circles are the source, triangles the target. A group alone: click it."));
  }

  function openGrid() {
    if (!state.lasso) return grid.replaceChildren();
    const chosen = [...state.lasso].filter(shows);
    const wrong = chosen.filter((index) => describe(index)[1].endsWith("✗")).length;
    const figures = chosen.slice(0, GRID_LIMIT).map((index) => h("figure", {}, picture(index), h("figcaption", {}, `${describe(index)[0]}, ${describe(index)[1]}`)));
    const more = chosen.length > GRID_LIMIT ? `, the first ${GRID_LIMIT} shown` : "";
    grid.replaceChildren(h("h3", {}, `${whole(chosen.length)} images in the lasso, ${whole(wrong)} predicted wrongly${more}`), h("div", { class: "grid" }, ...figures));
  }

  function refresh() {
    byProjection.querySelector("[value=tsne]").disabled = !state.part.tsne;
    byProjection.value = state.part.tsne ? state.projection : "pca";
    clear.disabled = !state.lasso;
    drawLegend();
    openGrid();
    paint();
  }
  onChoice(runs, (run) => {
    state.part = data.map.variants.find((variant) => variant.run === run);
    state.lasso = state.near = null;
    tip.hidden = true;
    refresh();
  });
  dark.addEventListener("change", drawLegend);
  canvas.placeOf = (index) => place(index); // for tests: where a point lies
  canvas.cellOf = (index) => state.part.cells[index];
  return true;
}

function mark(context, triangle, x, y, size) {
  context.beginPath();
  if (!triangle) context.arc(x, y, size, 0, 2 * Math.PI);
  else {
    context.moveTo(x, y - size * 1.25);
    context.lineTo(x + size * 1.15, y + size * 0.85);
    context.lineTo(x - size * 1.15, y + size * 0.85);
    context.closePath();
  }
}

// Whether a point lies within a polygon: a ray from it crosses the border an odd number of times.
function inside(polygon, [x, y]) {
  let odd = false;
  polygon.forEach(([x1, y1], at) => {
    const [x2, y2] = polygon[(at + 1) % polygon.length];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) odd = !odd;
  });
  return odd;
}

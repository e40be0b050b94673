// The embedding map: every point is a test image. The nearest one to the pointer shows its picture; a lasso opens many.

const REACH = { mouse: 18, touch: 32, pen: 24 };
const GRID_LIMIT = 240;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function drawMap(element) {
  if (!data.map) return false;
  new EmbeddingMap(element);
  return true;
}

class EmbeddingMap {
  points = new Points();
  near = null; // the point whose picture is shown
  trail = null; // the lasso while it is drawn

  constructor(element) {
    const runs = data.map.variants.map((variant) => variant.run);
    this.canvas = h("canvas", { class: "points", tabIndex: 0, role: "application", "aria-label": "Embedding map. Arrow keys go from image to image." });
    this.tip = h("div", { class: "tip picture", hidden: true });
    this.legend = h("div", { class: "legend", role: "group", "aria-label": "Groups of points" });
    this.grid = h("div", { id: "lasso-grid" });
    element.append(
      this.controls(runs),
      h("div", { class: "mapping" }, h("div", { class: "plane" }, this.canvas, this.tip), h("div", { class: "side" }, this.legend)),
      this.grid);
    this.paint = onSize(this.canvas, (context, width, height) => this.draw(context, width, height));
    this.listen();
    dark.addEventListener("change", () => this.drawLegend());
    onChoice(runs, (run) => this.show(data.map.variants.find((variant) => variant.run === run)));
    this.canvas.placeOf = (at) => this.points.place(at); // for tests: where a point lies, and what it shows
    this.canvas.cellOf = (at) => this.points.cell(at);
  }

  controls(runs) {
    const select = (key, pairs) => {
      const one = h("select", { id: `map-${key}`, onchange: () => { this.points[key] = one.value; this.points.only = null; this.refresh(); } },
        ...pairs.map(([value, text]) => h("option", { value }, text)));
      one.value = this.points[key];
      return one;
    };
    this.projection = select("projection", [["tsne", "t-SNE (neighborhoods)"], ["pca", "PCA (large distances)"]]);
    this.clear = h("button", { type: "button", onclick: () => { this.points.lasso = null; this.refresh(); } }, "Clear lasso");
    const touch = h("button", { type: "button", "aria-pressed": "false", onclick: () => {
      touch.setAttribute("aria-pressed", String(this.canvas.classList.toggle("lassoing")));
    } }, "Lasso by touch");
    return h("div", { class: "controls" }, variantSelect(runs), h("label", {}, "Projection", this.projection),
      h("label", {}, "Color", select("by", Object.entries(GROUPINGS).map(([key, { title }]) => [key, title]))),
      h("label", {}, "Domain", select("domain", [["both", "both"], ...SIDES.map((side, at) => [String(at), `${side}: ${data.domains[at]}`])])),
      matchMedia("(pointer: coarse)").matches ? touch : null, this.clear);
  }

  show(run) {
    this.points.run = run;
    this.forget();
  }

  // No lasso, no picture.
  forget() {
    this.points.lasso = this.near = null;
    this.tip.hidden = true;
    this.refresh();
  }

  refresh() {
    const { run, projection, lasso } = this.points;
    this.projection.querySelector("[value=tsne]").disabled = !run.tsne;
    this.projection.value = run.tsne ? projection : "pca";
    this.clear.disabled = !lasso;
    this.drawLegend();
    this.drawGrid();
    this.paint();
  }

  draw(context, width, height) {
    const { points } = this, { color: tone } = GROUPINGS[points.by];
    points.fit(width, height);
    context.clearRect(0, 0, width, height);
    for (const target of [0, 1]) { // the target above the source
      for (const at of points.all.filter((one) => points.side(one) === target)) {
        context.globalAlpha = points.lit(at) ? [0.5, 0.9][target] : 0.06;
        context.fillStyle = tone(points.group(at));
        mark(context, target, ...points.place(at), 3.2);
        context.fill();
      }
    }
    context.globalAlpha = 1;
    if (this.near !== null) this.drawRing(context);
    if (this.trail) this.drawTrail(context);
  }

  drawRing(context) {
    context.strokeStyle = css("--ink");
    context.lineWidth = 2;
    mark(context, this.points.side(this.near), ...this.points.place(this.near), 6.5);
    context.stroke();
  }

  drawTrail(context) {
    context.strokeStyle = css("--accent");
    context.fillStyle = css("--shade");
    context.lineWidth = 1.5;
    context.beginPath();
    this.trail.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.fill();
    context.stroke();
  }

  drawLegend() {
    const { points } = this, { name, color: tone } = GROUPINGS[points.by];
    const entry = ({ group, lit, all }) => {
      const dot = h("span", { class: "dot" });
      dot.style.background = tone(group);
      const alone = () => { points.only = points.only === group ? null : group; this.refresh(); };
      return h("button", { type: "button", "aria-pressed": String(points.only === group), onclick: alone },
        dot, name(group), h("span", { class: "count" }, `${whole(lit)} / ${whole(all)}`));
    };
    this.legend.replaceChildren(...points.groups().map(entry), h("p", { class: "about" }, "Circles are the source, triangles the target. A group alone: click it."));
  }

  // The pictures in the lasso.
  drawGrid() {
    const { points } = this;
    if (!points.lasso) return this.grid.replaceChildren();
    const chosen = [...points.lasso].filter((at) => points.shows(at));
    const labelled = chosen.filter((at) => points.labelled(at)), mistaken = labelled.filter((at) => !points.verdict(at)).length;
    const judged = labelled.length === chosen.length ? "" : ` of ${whole(labelled.length)} with labels`;
    const more = chosen.length > GRID_LIMIT ? `, the first ${GRID_LIMIT} shown` : "";
    const figures = chosen.slice(0, GRID_LIMIT).map((at) => h("figure", {}, this.picture(at), h("figcaption", {}, points.words(at).slice(0, 2).join(", "))));
    this.grid.replaceChildren(h("h3", {}, `${whole(chosen.length)} images in the lasso, ${whole(mistaken)}${judged} predicted wrongly${more}`), h("div", { class: "grid" }, ...figures));
  }

  picture(at) { return thumb("map", this.points.cell(at), this.points.words(at).join(", ")); }

  // Shows the picture of a point beside it, or none.
  look(at) {
    this.near = at;
    this.tip.hidden = at === null;
    if (at !== null) {
      const [x, y] = this.points.place(at), { width, height } = this.canvas.getBoundingClientRect();
      const left = x < width / 2;
      this.tip.replaceChildren(this.picture(at), h("div", {}, ...this.points.words(at).map((text) => h("div", {}, text))));
      this.tip.style.left = left ? `${x + 14}px` : "";
      this.tip.style.right = left ? "" : `${width - x + 14}px`;
      this.tip.style.top = `${clamp(y - 50, 0, Math.max(0, height - 110))}px`;
    }
    this.paint();
  }

  listen() {
    const place = ({ clientX, clientY }) => { const box = this.canvas.getBoundingClientRect(); return [clientX - box.left, clientY - box.top]; };
    const point = (event) => this.look(this.points.nearest(...place(event), REACH[event.pointerType] ?? REACH.mouse));
    const on = (name, react) => this.canvas.addEventListener(name, react);
    on("pointerdown", (event) => {
      const draws = event.pointerType === "mouse" || this.canvas.classList.contains("lassoing");
      if (event.button || !draws) return point(event);
      this.canvas.setPointerCapture(event.pointerId);
      this.trail = [place(event)];
    });
    on("pointermove", (event) => {
      if (!this.trail) return point(event);
      this.trail.push(place(event));
      this.look(null);
    });
    on("pointerup", () => this.close());
    on("pointercancel", () => { this.trail = null; this.paint(); });
    on("pointerleave", (event) => { if (!this.trail && event.pointerType === "mouse") this.look(null); });
    on("keydown", (event) => this.key(event));
  }

  // Ends the lasso. What is hardly longer than a click is none.
  close() {
    if (this.trail?.length > 8) this.points.lasso = this.points.within(this.trail);
    this.trail = null;
    this.refresh();
  }

  key(event) {
    if (event.key === "Escape") this.forget();
    const way = ARROWS[event.key];
    if (!way) return;
    event.preventDefault();
    const { clientWidth, clientHeight } = this.canvas;
    this.look(this.near === null ? this.points.nearest(clientWidth / 2, clientHeight / 2, Infinity) : this.points.next(this.near, way));
  }
}

// A circle, or a triangle for the target.
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

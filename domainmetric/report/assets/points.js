// The points of the embedding map: the test images of one run, where they lie, how they group, which are to be seen.
// A point is a number, `at`, in the order of the run.

const SIDES = ["source", "target"];
const NO_LABEL = -1;
const tone = (group) => (group === NO_LABEL ? css("--quiet") : color(group));
const TRUTH = data.map?.items.label.some((label, at) => label >= 0 && data.map.items.side[at] === 1) ? "true class (oracle for the target)" : "true class (of the source)";
const GROUPINGS = {
  label: { title: TRUTH, of: (points, at) => points.label(at), name: className, color: tone },
  prediction: { title: "predicted class", of: (points, at) => points.prediction(at), name: className, color },
  right: { title: "right or wrong", of: (points, at) => points.verdict(at), name: (group) => ["wrong", "right"][group] ?? className(group), color: (group) => css(["--wrong", "--right"][group] ?? "--quiet") },
  side: { title: "domain", of: (points, at) => points.side(at), name: (group) => SIDES[group], color },
};

class Points {
  run = data.map.variants[0];
  by = unlabelled ? "prediction" : "label";
  projection = "tsne";
  domain = "both";
  only = null; // the one group that is to be seen
  lasso = null; // a set of points
  place = () => [0, 0]; // where a point lies on the canvas, once it has been drawn

  get all() { return [...this.run.cells.keys()]; }
  cell(at) { return this.run.cells[at]; }
  side(at) { return data.map.items.side[this.cell(at)]; }
  label(at) { return data.map.items.label[this.cell(at)]; }
  prediction(at) { return this.run.prediction[at]; }
  labelled(at) { return this.label(at) >= 0; }
  verdict(at) { return this.labelled(at) ? Number(this.label(at) === this.prediction(at)) : NO_LABEL; }
  group(at) { return GROUPINGS[this.by].of(this, at); }

  ofDomain(at) { return this.domain === "both" || this.side(at) === Number(this.domain); }
  shows(at) { return this.ofDomain(at) && (this.only === null || this.group(at) === this.only); }
  lit(at) { return this.shows(at) && (!this.lasso || this.lasso.has(at)); }

  words(at) {
    return [
      `${SIDES[this.side(at)]}: ${className(this.label(at))}`,
      `predicted ${className(this.prediction(at))}${[" ✗", " ✓"][this.verdict(at)] ?? ""}`,
      `test image ${whole(data.map.items.row[this.cell(at)])}`,
    ];
  }

  // Each group in the chosen domain with the number of its points, and of those that are lit.
  groups() {
    const found = Map.groupBy(this.all.filter((at) => this.ofDomain(at)), (at) => this.group(at));
    return [...found].sort(([one], [other]) => one - other)
      .map(([group, members]) => ({ group, all: members.length, lit: members.filter((at) => this.lit(at)).length }));
  }

  // Lays the points into a canvas: evenly stretched, so that a wide one is filled.
  fit(width, height) {
    const spots = this.run[this.projection] ?? this.run.pca;
    const side = Math.min(width, height) - 24, stretch = Math.min(width / height, 1.3);
    this.place = (at) => [width / 2 + (spots[2 * at] / 10000 - 0.5) * side * stretch, height / 2 - (spots[2 * at + 1] / 10000 - 0.5) * side];
  }

  nearest(x, y, reach) {
    const far = (at) => { const [px, py] = this.place(at); return Math.hypot(px - x, py - y); };
    return least(this.all.filter((at) => this.shows(at) && far(at) < reach), far);
  }

  // The nearest point that lies more in this direction than across it; else the same one.
  next(from, [dx, dy]) {
    const [x, y] = this.place(from);
    const off = (at) => {
      const [px, py] = this.place(at);
      return { along: (px - x) * dx + (py - y) * dy, across: Math.abs((px - x) * dy) + Math.abs((py - y) * dx) };
    };
    const ahead = this.all.filter((at) => this.shows(at) && off(at).along > 0.5 && off(at).along >= off(at).across);
    return least(ahead, (at) => off(at).along + off(at).across) ?? from;
  }

  within(polygon) {
    return new Set(this.all.filter((at) => this.shows(at) && inside(polygon, this.place(at))));
  }
}

// The item for which `measure` is smallest, null if there is none.
function least(items, measure) {
  let best = null, smallest = Infinity;
  for (const item of items) {
    const size = measure(item);
    if (size < smallest) [best, smallest] = [item, size];
  }
  return best;
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

// Small charts over the steps: a line for each variant, the mean of its seeds where they were measured at the same steps.

const hidden = new Set();
const lit = new EventTarget();
lit.variant = null;
const CHART = { width: 360, height: 210, left: 44, right: 8, top: 14, bottom: 24 };

function ticks(low, high, count = 4) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

// [{variant, line: {x, y}, seeds: [{x, y}]}]; `line` is null where seeds were measured at different steps.
function byVariant(curves) {
  return data.variants.map((_, variant) => {
    const seeds = curves.filter((curve) => data.runs[curve.run].variant === variant);
    if (!seeds.length) return null;
    const x = seeds.map((curve) => curve.x).reduce((one, other) => (one.length >= other.length ? one : other));
    const same = seeds.every((curve) => curve.x.every((step, at) => step === x[at]));
    if (!same) return { variant, line: null, seeds };
    const y = x.map((_, at) => {
      const values = seeds.filter((curve) => at < curve.x.length).map((curve) => curve.y[at]);
      return values.some((value) => value === null) ? null : mean(values);
    });
    return { variant, line: { x, y }, seeds: seeds.length > 1 ? seeds : [] };
  }).filter(Boolean);
}

function path(line, px, py) {
  let text = "", pen = "M";
  line.x.forEach((step, at) => {
    if (line.y[at] === null) { pen = "M"; return; }
    text += `${pen}${px(step).toFixed(1)} ${py(line.y[at]).toFixed(1)}`;
    pen = "L";
  });
  return text;
}

function chart(title, curves, { share = false } = {}) {
  const groups = byVariant(curves);
  const { width, height, left, right, top, bottom } = CHART;
  const values = curves.flatMap((curve) => curve.y).filter((value) => value !== null);
  const steps = curves.flatMap((curve) => curve.x);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const span = [Math.min(0, ...steps), Math.max(...steps, 1)];
  const px = (step) => left + ((step - span[0]) / (span[1] - span[0])) * (width - left - right);
  const py = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const label = share ? (value) => `${Number((100 * value).toPrecision(4))}%` : short;
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}, over the steps of training` });
  for (const value of ticks(low, high)) {
    svg.append(s("line", { class: "gridline", x1: left, x2: width - right, y1: py(value), y2: py(value) }),
      s("text", { x: left - 6, y: py(value) + 4, "text-anchor": "end" }, label(value)));
  }
  for (const step of ticks(span[0], span[1], 5)) svg.append(s("text", { x: px(step), y: height - 6, "text-anchor": "middle" }, whole(step)));
  for (const [name, step] of Object.entries(data.phases)) {
    if (step <= span[0] || step >= span[1]) continue;
    svg.append(s("line", { class: "phase", x1: px(step), x2: px(step), y1: top, y2: height - bottom }),
      s("text", { x: px(step) + 3, y: top - 3 }, name));
  }
  const lines = groups.map((group) => {
    const layer = s("g");
    for (const seed of group.seeds) layer.append(s("path", { class: group.line ? "seed" : "", d: path(seed, px, py) }));
    if (group.line) layer.append(s("path", { d: path(group.line, px, py), "stroke-dasharray": dash(group.variant) }));
    if (group.line?.x.length === 1) layer.append(s("circle", { cx: px(group.line.x[0]), cy: py(group.line.y[0] ?? low), r: 3 }));
    svg.append(layer);
    return { ...group, layer };
  });
  const update = () => lines.forEach(({ variant, layer }) => {
    layer.setAttribute("stroke", color(variant));
    layer.setAttribute("fill", color(variant));
    layer.style.display = hidden.has(variant) ? "none" : "";
    layer.classList.toggle("dim", lit.variant !== null && lit.variant !== variant);
  });
  lit.addEventListener("change", update);
  onTheme(update);
  const figure = h("div", { class: "chart" }, h("h3", {}, title), svg);
  crosshair(figure, svg, lines.filter((group) => group.line), px, label);
  return figure;
}

// Under the pointer: the nearest step, and each variant's value there, the highest first.
function crosshair(figure, svg, lines, px, label) {
  const rule = s("line", { class: "cross", y1: CHART.top, y2: CHART.height - CHART.bottom, visibility: "hidden" });
  const tip = h("div", { class: "tip", hidden: true });
  svg.append(rule);
  figure.append(tip);
  const leave = () => { tip.hidden = true; rule.setAttribute("visibility", "hidden"); };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("pointermove", (event) => {
    const seen = lines.filter((group) => !hidden.has(group.variant));
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * CHART.width;
    const steps = [...new Set(seen.flatMap((group) => group.line.x))];
    if (!steps.length) return leave();
    const step = steps.reduce((one, other) => (Math.abs(px(other) - at) < Math.abs(px(one) - at) ? other : one));
    const values = seen.map((group) => [group.variant, group.line.y[group.line.x.indexOf(step)] ?? null])
      .filter(([, value]) => value !== null).sort((one, other) => other[1] - one[1]);
    rule.setAttribute("x1", px(step));
    rule.setAttribute("x2", px(step));
    rule.setAttribute("visibility", "visible");
    tip.replaceChildren(`step ${whole(step)}`, ...values.slice(0, 14).map(([variant, value]) =>
      h("div", {}, swatch(variant), data.variants[variant], h("b", {}, label(value)))));
    tip.hidden = false;
    const onLeft = event.clientX - box.left > box.width / 2;
    tip.style.left = onLeft ? "" : `${event.clientX - box.left + 14}px`;
    tip.style.right = onLeft ? `${box.right - event.clientX + 14}px` : "";
    tip.style.top = "2.2rem";
  });
}

// Buttons that hide and show a variant's lines; under the pointer or with the focus it is told from the others.
function curveLegend() {
  if (data.variants.length < 2) return null;
  const light = (variant) => { lit.variant = variant; lit.dispatchEvent(new Event("change")); };
  return h("div", { class: "legend", role: "group", "aria-label": "Variants in the charts" }, ...data.variants.map((name, variant) => {
    const button = h("button", {
      type: "button", "aria-pressed": "true", onpointerenter: () => light(variant), onpointerleave: () => light(null),
      onfocus: () => light(variant), onblur: () => light(null),
      onclick: () => {
        hidden.has(variant) ? hidden.delete(variant) : hidden.add(variant);
        button.setAttribute("aria-pressed", String(!hidden.has(variant)));
        button.classList.toggle("off", hidden.has(variant));
        light(hidden.has(variant) ? null : variant);
      },
    }, swatch(variant), name);
    return button;
  }));
}

const ACCURACY = "eval/target/accuracy_oracle";

// Whose labels the curves were judged by.
function curveLabels() {
  if (data.curves[ACCURACY]) return "Accuracy here is measured on target training images, with labels that training does not see.";
  return unlabelled ? "The target has no labels, so there is no accuracy of it here." : "";
}

const PANELS = [
  ["Accuracy and match precision", /^(eval\/|anchors\/precision_oracle$)/, true, true],
  ["Losses", /^loss\//, true, false],
  ["Anchors", /^anchors\/(?!precision_oracle$)/, false, false],
  ["Label-free scores", /^score\//, unlabelled, false],
  ["Triplets", /triplets\//, false, false],
  ["Gradient share of the terms", /^gradient\//, false, false],
  ["Collapse", /^collapse\//, false, false],
  ["Everything else", /./, false, false],
];

function metricTitle(name) {
  const known = { [ACCURACY]: "target accuracy during training (oracle)", "anchors/precision_oracle": "match precision (oracle)", "loss/total": "total loss" };
  return known[name] ?? name.replace(/^(loss|score|anchors|collapse)\//, "").replaceAll("_", " ").replaceAll("/", ", ");
}

function drawCurves(element) {
  const left = new Set(Object.keys(data.curves).filter((name) => data.curves[name].some((curve) => curve.y.some((value) => value !== null))));
  if (!left.size) return false;
  element.append(curveLegend() ?? "");
  for (const [title, pattern, open, share] of PANELS) {
    const names = [...left].filter((name) => pattern.test(name)).sort((one, other) => (other === "loss/total") - (one === "loss/total") || one.localeCompare(other));
    if (!names.length) continue;
    names.forEach((name) => left.delete(name));
    const charts = () => names.map((name) => chart(metricTitle(name), data.curves[name], { share }));
    const box = h("div", { class: "charts" });
    if (open) box.append(...charts());
    const details = h("details", { open }, h("summary", {}, `${title} (${names.length})`), box);
    details.addEventListener("toggle", () => { if (details.open && !box.childElementCount) box.append(...charts()); });
    element.append(details);
  }
}

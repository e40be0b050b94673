// What every part of the page uses: the data, elements, numbers as text, colors, thumbnails, and the chosen variant.
// Text from the data is only ever written as text.

const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 3", "2 3", "8 3 2 3"];

// An element with properties and children: strings become text.
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "scope") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const percent = (value, digits = 1) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(digits)}%`);
const whole = (value) => value.toLocaleString("en-US");
// Whether runs are finished, and none of them had labels of the target's test images to be judged by.
const unlabelled = data.shown.length > 0 && data.runs.every((run) => run.values[0] === null);
const className = (index) => (index === null || index < 0 ? "no label" : data.classes[index] ?? `class ${index}`);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(1);
  return String(Number(value.toPrecision(size >= 1000 ? 5 : 3)));
}

const UNITS = {
  percent: (value) => percent(value, 2),
  share: (value) => percent(value, 0),
  points: (value) => (value === null ? "–" : (100 * value).toFixed(2)),
  number: short,
  step: (value) => (value === null ? "–" : whole(value)),
  seconds: (value) => (value === null ? "–" : `${whole(Math.round(value))} s`),
};

// A color of the palette, made lighter on a dark ground until it can be read there.
function color(index) {
  const hex = data.palette[((index % data.palette.length) + data.palette.length) % data.palette.length];
  const rgb = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const light = (0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]) / 255;
  const mix = dark.matches ? clamp((0.52 - light) * 1.1, 0, 0.5) : 0;
  return `rgb(${rgb.map((part) => Math.round(part + (255 - part) * mix)).join(" ")})`;
}

const dash = (index) => DASHES[Math.floor(index / data.palette.length) % DASHES.length];

function swatch(index) {
  const line = s("line", { x1: 0, x2: 24, y1: 4, y2: 4, "stroke-width": 3, "stroke-dasharray": dash(index) });
  const icon = s("svg", { class: "swatch", viewBox: "0 0 24 8", "aria-hidden": "true" }, line);
  onTheme(() => line.setAttribute("stroke", color(index)));
  return icon;
}

// Calls `draw` now and whenever light turns to dark or back.
function onTheme(draw) {
  dark.addEventListener("change", draw);
  draw();
}

// The finished run that stands for the chosen variant, known to all parts.
const choice = new EventTarget();
choice.run = data.shown[0];
choice.set = (run) => {
  choice.run = run;
  choice.dispatchEvent(new Event("change"));
};
const variantOf = (run) => data.variants[data.runs[run].variant];

// A select of the shown variants that have something in `runs`, in step with all others.
function variantSelect(runs, title = "Variant") {
  const select = h("select", { onchange: () => choice.set(Number(select.value)) });
  for (const run of runs) select.append(h("option", { value: run }, `${variantOf(run)}, seed ${data.runs[run].seed}`));
  const follow = () => { if (runs.includes(choice.run)) select.value = choice.run; };
  choice.addEventListener("change", follow);
  follow();
  return h("label", { hidden: runs.length < 2 }, title, select);
}

// Calls `draw` with a run out of `runs`: the chosen one, or the last one that was.
function onChoice(runs, draw) {
  let last = runs.includes(choice.run) ? choice.run : runs[0];
  const update = () => {
    if (runs.includes(choice.run)) last = choice.run;
    draw(last);
  };
  choice.addEventListener("change", update);
  update();
}

// A thumbnail from a sheet, as a canvas of its own pixels.
function drawThumb(context, sheet, cell) {
  const { cell: side, columns } = data.sheets[sheet];
  const x = (cell % columns) * side, y = Math.floor(cell / columns) * side;
  context.drawImage(document.getElementById(`sheet-${sheet}`), x, y, side, side, 0, 0, context.canvas.width, context.canvas.height);
}

function thumb(sheet, cell, label) {
  const layout = data.sheets[sheet];
  if (!layout) return h("span", { class: "thumb" });
  const canvas = h("canvas", { class: "thumb", width: layout.cell, height: layout.cell, role: "img", "aria-label": label });
  canvas.dataset.cell = cell;
  drawThumb(canvas.getContext("2d"), sheet, cell);
  return canvas;
}

// A canvas that is drawn anew, sharply, whenever its size or the theme changes.
function onSize(canvas, draw) {
  const update = () => {
    const { width, height } = canvas.getBoundingClientRect();
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    draw(context, width, height);
  };
  new ResizeObserver(update).observe(canvas);
  dark.addEventListener("change", update);
  return update;
}

const sections = [];
// A section of the page; `build` adds its content and says with false that it has none.
function section(id, title, about, build) {
  const element = h("section", { id }, h("h2", {}, title), about ? h("p", { class: "about" }, about) : null);
  if (build(element) === false) return;
  sections.push({ id, title });
  document.querySelector("main").append(element);
}

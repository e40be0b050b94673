// Which classes are taken for which: a small picture of every variant over its seeds, and the chosen one in numbers.

const MAX_COUNTED = 30;

function confusionOf(variant) {
  const tables = data.runs.filter((run) => run.variant === variant && run.confusion).map((run) => run.confusion);
  if (!tables.length) return null;
  return tables[0].map((row, at) => row.map((_, column) => tables.reduce((sum, table) => sum + table[at][column], 0)));
}

const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);
// The share of a row, as an amount of color; on a root scale, so that rare confusions show.
const tint = (count, total) => (total ? Math.sqrt(count / total) : 0);

function cellColor(right, amount) {
  return `color-mix(in srgb, var(${right ? "--right" : "--wrong"}) ${Math.round(85 * amount)}%, var(--raised))`;
}

function miniature(table) {
  const canvas = h("canvas", { width: table.length, height: table.length, "aria-hidden": "true" });
  onTheme(() => {
    const context = canvas.getContext("2d");
    const ground = css("--raised"), colors = [css("--wrong"), css("--right")];
    table.forEach((row, y) => row.forEach((count, x) => {
      context.globalAlpha = 1;
      context.fillStyle = ground;
      context.fillRect(x, y, 1, 1);
      context.globalAlpha = 0.9 * tint(count, sumOf(row));
      context.fillStyle = colors[Number(x === y)];
      context.fillRect(x, y, 1, 1);
    }));
  });
  return canvas;
}

function drawConfusions(element) {
  const runs = data.shown.filter((run) => data.runs[run].confusion);
  if (!runs.length) return false;
  const small = h("div", { class: "charts small", role: "group", "aria-label": "Variants", hidden: runs.length < 2 });
  for (const run of runs) {
    const table = confusionOf(data.runs[run].variant);
    const right = sumOf(table.map((row, at) => row[at])) / sumOf(table.map(sumOf));
    const button = h("button", { class: "mini", type: "button", onclick: () => choice.set(run) }, miniature(table), h("span", {}, `${variantOf(run)}: ${percent(right)}`));
    onChoice(runs, (chosen) => button.setAttribute("aria-pressed", String(chosen === run)));
    small.append(button);
  }
  const detail = h("div", {});
  onChoice(runs, (run) => {
    const seeds = data.runs.filter((other) => other.variant === data.runs[run].variant && other.confusion).length;
    detail.replaceChildren(
      h("h3", {}, `${variantOf(run)}${seeds > 1 ? `, ${seeds} seeds together` : ""}: rows are true classes, columns predicted ones`),
      large(confusionOf(data.runs[run].variant)));
  });
  element.append(small, detail);
}

// In numbers; where the classes are too many for them, as a picture.
function large(table) {
  if (table.length <= MAX_COUNTED) return counts(table);
  const canvas = miniature(table);
  canvas.classList.add("frame", "thumb");
  return canvas;
}

function counts(table) {
  const head = h("tr", {}, h("th", {}, h("span", { class: "faint" }, "true ↓")), ...table.map((_, at) => h("th", { scope: "col" }, className(at))), h("th", { scope: "col" }, "right"));
  const body = table.map((row, y) => {
    const total = sumOf(row);
    const cells = row.map((count, x) => {
      const amount = tint(count, total);
      const cell = h("td", { title: `${className(y)} taken for ${className(x)}: ${whole(count)} of ${whole(total)}` }, count ? whole(count) : "");
      cell.style.background = cellColor(x === y, amount);
      if (amount > 0.6) cell.style.color = "var(--paper)";
      return cell;
    });
    return h("tr", {}, h("th", { scope: "row" }, className(y)), ...cells, h("td", {}, total ? percent(row[y] / total) : "–"));
  });
  return h("div", { class: "scroll" }, h("table", { class: "confusion" }, h("thead", {}, head), h("tbody", {}, ...body)));
}

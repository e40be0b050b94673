// Tables that sort by a click on a column's head: numbers by size, words by the alphabet, and what is absent last.

// A cell breaks only if its text is long; a figure never does.
function cell(column, content) {
  const long = (content.textContent ?? content).length > 34;
  return h("td", { class: `${column.words ? "text" : ""} ${long && column.words ? "long" : ""}` }, content);
}

// `columns`: {title, text: (row) -> string or element, key: (row) -> number or string or null, words, start}
function sortable(rows, columns, { decorate } = {}) {
  const body = h("tbody");
  const heads = columns.map((column, index) =>
    h("th", { scope: "col", class: column.words ? "text" : "" }, h("button", { type: "button", onclick: () => sort(index) }, column.title)));
  let by = null, down = false;

  function fill(order) {
    body.replaceChildren(...order.map((row) => {
      const line = h("tr", {}, ...columns.map((column) => cell(column, column.text(row))));
      decorate?.(line, row);
      return line;
    }));
  }

  function sort(index) {
    down = by === index ? !down : !columns[index].words;
    by = index;
    heads.forEach((head, at) => (at === by ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
    const key = columns[index].key;
    fill(rows.toSorted((one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      return down ? -order : order;
    }));
  }

  fill(rows);
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ...heads)), body));
}

const deviation = (values) => {
  if (values.length < 2) return null;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
};

// The seeds of all runs, in order: a run that is missing still has its place among them.
const seedsOfRuns = () => [...new Set(data.runs.map((run) => run.seed).filter((seed) => seed !== null))].toSorted((a, b) => a - b);

// One row for each variant: its finished runs' values of each column.
function variantRows() {
  const seeds = seedsOfRuns();
  return data.variants.map((name, variant) => {
    const runs = data.runs.filter((run) => run.variant === variant);
    const finished = runs.filter((run) => run.values.some((value) => value !== null));
    const values = data.columns.map((_, column) => finished.map((run) => run.values[column]).filter((value) => value !== null));
    const bySeed = seeds.map((seed) => finished.find((run) => run.seed === seed)?.values[0] ?? null);
    return { name, variant, runs, finished, values, bySeed };
  });
}

function statistic(title, unit, read) {
  return { title, key: read, text: (row) => UNITS[unit](read(row)) };
}

function variantTable() {
  const rows = variantRows();
  const mostSeeds = Math.max(...rows.map((row) => row.finished.length), 0);
  const average = (column) => (row) => (row.values[column].length ? mean(row.values[column]) : null);
  const name = {
    title: "variant", words: true, key: (row) => row.name,
    text: (row) => {
      const shown = data.shown.find((run) => data.runs[run].variant === row.variant);
      const label = shown === undefined || data.shown.length < 2 ? row.name
        : h("button", { class: "row-button", type: "button", title: "Show this variant below", onclick: () => choice.set(shown) }, row.name);
      return h("span", {}, label, row.name === data.baseline ? h("span", { class: "tag" }, "baseline") : null,
        data.oracle.includes(row.name) ? h("span", { class: "tag", title: "It reads target labels" }, "oracle") : null);
    },
  };
  const columns = [name];
  if (data.kind === "ablation") {
    columns.push({ title: "runs", key: (row) => row.finished.length, text: (row) => `${row.finished.length} / ${row.runs.length}` });
  }
  columns.push(statistic(data.columns[0].title, "percent", average(0)));
  if (mostSeeds > 1) {
    columns.push(
      statistic("deviation, points", "points", (row) => deviation(row.values[0])),
      statistic("minimum", "percent", (row) => (row.values[0].length ? Math.min(...row.values[0]) : null)),
      { title: `each seed (${seedsOfRuns().join(", ")})`, key: average(0), text: (row) => h("span", { class: "faint" }, row.bySeed.map((value) => (value === null ? "–" : (100 * value).toFixed(1))).join(" · ")) },
      statistic("runs below 90%", "share", (row) => (row.values[0].length ? mean(row.values[0].map((value) => Number(value < 0.9))) : null)),
    );
  }
  data.columns.slice(1).forEach((column, index) => {
    if (rows.some((row) => row.values[index + 1].length)) columns.push(statistic(column.unit === "points" ? `${column.title}, points` : column.title, column.unit, average(index + 1)));
  });
  const decorate = (line, row) => {
    const mark = () => line.classList.toggle("chosen", data.shown.length > 1 && data.runs[choice.run]?.variant === row.variant);
    choice.addEventListener("change", mark);
    mark();
  };
  return sortable(rows, columns, { decorate });
}

// Runs that are not finished, and why.
function unfinished() {
  const rows = data.runs.filter((run) => run.status !== "finished");
  if (!rows.length) return null;
  const columns = [
    { title: "variant", words: true, key: (run) => run.variant, text: (run) => data.variants[run.variant] ?? "–" },
    { title: "seed", key: (run) => run.seed, text: (run) => String(run.seed ?? "–") },
    { title: "state", words: true, key: (run) => run.status, text: (run) => run.status },
    { title: "what happened", words: true, key: (run) => run.error, text: (run) => run.error || "–" },
    { title: "folder", words: true, key: (run) => run.folder, text: (run) => run.folder || "–" },
  ];
  return h("details", { open: rows.length <= 8 }, h("summary", {}, `${rows.length} of ${data.runs.length} runs did not finish`), sortable(rows, columns));
}

// A table that the ablation wrote, as it stands.
function written(rows) {
  const [head, ...body] = rows;
  const number = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : null);
  const columns = head.map((title, at) => {
    const filled = body.map((row) => row[at] ?? "").filter((text) => text.trim() !== "");
    const words = !filled.every((text) => number(text) !== null);
    return {
      title, words,
      key: (row) => (words ? row[at] || null : number(row[at] ?? "")),
      text: (row) => (words ? row[at] || "–" : short(number(row[at] ?? ""))),
    };
  });
  return sortable(body, columns);
}

// What each label-free score says of the reported checkpoint, and which one it would have chosen.
function drawScores(element) {
  const lines = data.gaps.rows.flatMap(({ run, values, scores }) => scores.map(({ step }, at) => ({ run, name: data.gaps.scores[at], value: values[at], step })));
  if (!lines.length) return false;
  const columns = [
    { title: "score", words: true, key: (line) => line.name, text: (line) => line.name.replaceAll("_", " ") },
    statistic("reported checkpoint", "number", (line) => line.value),
    statistic("step that it would choose", "step", (line) => line.step),
  ];
  if (data.gaps.rows.length > 1) columns.unshift({ title: "variant", words: true, key: (line) => line.run, text: (line) => `${variantOf(line.run)}, seed ${data.runs[line.run].seed}` });
  element.append(...data.gaps.rows.map(({ run, rule, reported }) => h("p", {}, `Reported${data.gaps.rows.length > 1 ? ` of ${variantOf(run)}` : ""}: step ${whole(reported.step)}, chosen by ${rule}.`)), sortable(lines, columns));
}

function drawGaps(element) {
  if (!data.gaps.rows.length) return false;
  element.append(gapTable());
}

// What each label-free score would have chosen: mean oracle gap over the seeds, in points.
function gapTable() {
  const { scores, rows } = data.gaps;
  const lines = data.variants.map((name, variant) => {
    const own = rows.filter((row) => data.runs[row.run].variant === variant);
    const gapsOf = (read) => own.map(read).filter((gap) => gap !== null && gap !== undefined);
    return {
      name, rule: own[0]?.rule ?? "–",
      reported: gapsOf((row) => row.reported.gap),
      accuracy: gapsOf((row) => row.reported.accuracy),
      scores: scores.map((_, at) => gapsOf((row) => row.scores[at].gap)),
    };
  }).filter((line) => line.reported.length);
  const average = (values) => (values.length ? mean(values) : null);
  const columns = [
    { title: "variant", words: true, key: (line) => line.name, text: (line) => line.name },
    { title: "chosen by", words: true, key: (line) => line.rule, text: (line) => line.rule },
    statistic("accuracy (oracle)", "percent", (line) => average(line.accuracy)),
    statistic("gap of that", "points", (line) => average(line.reported)),
    ...scores.map((score, at) => statistic(score.replaceAll("_", " "), "points", (line) => average(line.scores[at]))),
  ];
  return sortable(lines, columns);
}

// The anchor browser: one target image, and the source images that each strategy lets stand for it.

function drawAnchors(element) {
  const found = data.anchors;
  if (!found) {
    if (!data.runs.some((run) => run.values[2] !== null || run.values[3] !== null)) return false;
    element.append(h("p", {}, "There is nothing to browse: the matches of these runs, or their images, are not at hand (see the notes above)."));
    return true;
  }
  const { targets, strategies } = found;
  const oracle = targets.label.some((label) => label !== null);
  const all = [...targets.cell.keys()];
  const right = (strategy, at) => Boolean(strategy.keep[at]) && strategy.label[at] === targets.label[at];
  const filters = [
    ["all", "all", () => true],
    ["any", "wrong for some strategy", (at) => strategies.some((strategy) => !right(strategy, at))],
    ["every", "wrong for every strategy", (at) => strategies.every((strategy) => !right(strategy, at))],
    ["differ", "strategies differ", (at) => new Set(strategies.map((strategy) => (strategy.keep[at] ? strategy.label[at] : -1))).size > 1],
    ["abstained", "without a match", (at) => strategies.some((strategy) => !strategy.keep[at])],
    ...strategies.map((strategy, index) => [`s${index}`, `wrong: ${variantOf(strategy.run)}`, (at) => !right(strategy, at)]),
  ].filter(([key]) => oracle || !/^(any|every|s\d+)$/.test(key));
  const state = { target: 0, label: "", filter: "all" };
  const pass = (at) => (state.label === "" || String(targets.label[at]) === state.label) && filters.find(([key]) => key === state.filter)[2](at);

  const strip = h("div", { class: "strip", role: "group", "aria-label": "Target images" });
  const shown = h("div", { class: "browser" });
  const tally = h("p", { class: "about", "aria-live": "polite" });
  const byClass = h("select", { id: "anchors-class", onchange: () => { state.label = byClass.value; fill(); } }, h("option", { value: "" }, "all"),
    ...[...new Set(targets.label)].filter((label) => label !== null).sort((one, other) => one - other).map((label) => h("option", { value: label }, className(label))));
  const byError = h("select", { id: "anchors-error", onchange: () => { state.filter = byError.value; fill(); } }, ...filters.map(([key, text]) => h("option", { value: key }, `${text} (${whole(all.filter(filters.find(([k]) => k === key)[2]).length)})`)));
  const draw = () => { const some = all.filter(pass); if (some.length) pick(some[Math.floor(Math.random() * some.length)], true); };
  element.append(h("div", { class: "controls" },
    oracle ? h("label", {}, "True class (oracle)", byClass) : null, h("label", {}, oracle ? "Match (oracle)" : "Match", byError),
    h("button", { type: "button", id: "anchors-random", onclick: draw }, "At random"),
    h("button", { type: "button", "aria-label": "Previous image", onclick: () => step(-1) }, "←"),
    h("button", { type: "button", "aria-label": "Next image", onclick: () => step(1) }, "→")), tally, strip, shown);

  function fill() {
    const some = all.filter(pass);
    tally.textContent = `${whole(some.length)} / ${whole(all.length)} target training images`;
    strip.replaceChildren(...some.map((at) => {
      const button = h("button", { type: "button", "aria-pressed": "false", onclick: () => pick(at) }, thumb("anchors", targets.cell[at], `target image ${targets.row[at]}`));
      button.dataset.target = at;
      return button;
    }));
    strip.hidden = !some.length;
    if (some.length) pick(some.includes(state.target) ? state.target : some[0]);
    else shown.replaceChildren(h("p", {}, "No target image is like that."));
  }

  function step(by) {
    const some = all.filter(pass);
    if (some.length) pick(some[(some.indexOf(state.target) + by + some.length) % some.length], true);
  }

  function pick(at, follow = false) {
    state.target = at;
    for (const button of strip.children) {
      const mine = Number(button.dataset.target) === at;
      button.setAttribute("aria-pressed", String(mine));
      button.tabIndex = mine ? 0 : -1; // one stop for the tab key; the arrow keys go on from there
      if (mine && strip.contains(document.activeElement)) button.focus({ preventScroll: true });
      if (mine && follow) strip.scrollTop = button.offsetTop - strip.offsetTop - strip.clientHeight / 2;
    }
    const truth = targets.label[at];
    const pixel = { cells: found.pixel.cells[at], similarity: found.pixel.similarity[at] };
    shown.replaceChildren(
      h("div", { class: "target" }, thumb("anchors", targets.cell[at], "the target image"),
        h("p", {}, truth === null ? "" : h("span", {}, h("strong", {}, className(truth)), " (oracle)"), h("br"), h("span", { class: "faint" }, `${data.domains[1]}, training image ${whole(targets.row[at])}`))),
      h("div", {}, row(h("p", {}, h("strong", {}, "pixel-nearest"), h("br"), "correlation of gray pixels; all source training images"), pixel, truth),
        ...strategies.map((strategy) => choiceRow(strategy, at, truth))));
  }

  function choiceRow(strategy, at, truth) {
    const name = variantOf(strategy.run), kept = Boolean(strategy.keep[at]);
    const told = kept ? [`matched ${className(strategy.label[at])}`, truth === null ? "" : sign(strategy.label[at] === truth), ` confidence ${strategy.confidence[at] ?? "–"}`] : ["not matched", truth === null ? "" : " (counts as wrong)"];
    const head = h("p", {}, h("strong", {}, name), strategy.name && strategy.name !== name ? ` ${strategy.name}` : "", h("br"), ...told);
    const line = row(head, { cells: strategy.cells[at], similarity: strategy.similarity[at] }, truth);
    line.classList.toggle("abstained", !kept);
    line.dataset.variant = name;
    return line;
  }

  const sign = (good) => h("span", { class: good ? "mark-right" : "mark-wrong" }, good ? " ✓" : " ✗");

  function row(head, anchors, truth) {
    return h("div", { class: "strategy" }, head, h("div", { class: "anchors" }, ...anchors.cells.map((cell, rank) => {
      const label = found.label[cell], good = truth === null ? null : label === truth;
      const kind = good === null ? "anchor" : good ? "anchor right" : "anchor wrong";
      return h("div", { class: kind, title: `${data.domains[0]}, training image ${whole(found.row[cell])}` }, thumb("anchors", cell, `source image of class ${className(label)}`),
        h("span", {}, className(label), good === null ? "" : sign(good), ` ${anchors.similarity[rank] === null ? "–" : anchors.similarity[rank].toFixed(2)}`));
    })));
  }

  strip.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    step(by);
  });
  fill();
  return true;
}

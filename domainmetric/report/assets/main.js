// The page, from top to bottom.

function lead() {
  const finished = data.runs.filter((run) => run.values[0] !== null);
  if (unlabelled) return "The target's test images have no labels, so no accuracy is known: see the scores that need none.";
  if (!finished.length) return "No run is finished yet.";
  if (data.kind === "run") return `${percent(finished[0].values[0], 2)} of the target's test images right, seed ${finished[0].seed}.`;
  const rows = variantRows().filter((row) => row.values[0].length);
  const fair = rows.filter((row) => !data.oracle.includes(row.name));
  if (!fair.length) return `${whole(rows.length)} variants, all of which read target labels.`;
  const best = fair.reduce((one, other) => (mean(other.values[0]) > mean(one.values[0]) ? other : one));
  const seeds = new Set(finished.map((run) => run.seed)).size;
  return `${whole(rows.length)} variants, ${whole(seeds)} ${seeds === 1 ? "seed" : "seeds"}. Highest mean target accuracy without target labels: ${best.name}, ${percent(mean(best.values[0]), 2)}.`;
}

function build() {
  document.querySelector("noscript").remove();
  document.getElementById("kind").textContent = `${data.kind === "run" ? "Run" : "Ablation"} · ${data.domains.join(" → ")}`;
  document.getElementById("name").textContent = data.name;
  document.getElementById("lead").textContent = lead();
  document.getElementById("made").textContent = `Made ${data.made} by domainmetric. Whatever took target labels is called oracle: it reports, and neither trains nor selects.`;

  section("results", "Results", data.kind === "run" ? null : "Means over the finished runs of each variant. A click on a head sorts; a variant's name shows it further down.", (element) => {
    element.append(...data.notes.map((note) => h("p", { class: "note" }, note)), variantTable(), unfinished() ?? "");
    for (const { title, rows } of data.tables) {
      if (rows.length > 1) element.append(h("details", { open: rows.length < 30 && title !== data.tables[0].title }, h("summary", {}, title), written(rows)));
    }
  });
  section("alarms", "Alarms", "What watched the training found something. An alarm is told once in a phase for each thing that it is about.", drawAlarms);
  section("audit", "Data", "What the preprocessing audit saw, values from 0 to 255: each split as it is stored, and random views as the network sees them.", drawAudits);
  section("curves", "Over time", `Bold: mean over seeds; thin: each seed. ${curveLabels()}`, drawCurves);
  if (unlabelled) section("gaps", "Label-free scores", "Of the reported checkpoint. How far it stays behind the run's best one cannot be told without target labels. Higher is better.", drawScores);
  else section("gaps", "Oracle gap", "How many points the checkpoint that a label-free score chooses stays behind the run's best one, judged by target labels; mean over seeds.", drawGaps);
  section("confusion", "Confusion", "Target test images. Blue is right, red is wrong; color grows with the root of the share of the true class.", drawConfusions);
  section("triplets", "Triplets, early and late", "Each anchor's nearest positive and nearest negative at the first and the last kept look. Target items carry their matched labels.", drawScatters);
  section("map", "Embedding map", "Test images of both domains. Point at one, or tap it, for its picture; draw a lasso around many to open them below.", drawMap);
  section("anchors", "Anchor browser", "Which source images each strategy lets stand for a target image at the end of training.", drawAnchors);
  section("how", "How it was run", null, (element) => {
    if (!data.how.length) return false;
    element.append(h("dl", {}, ...data.how.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
  });
  document.querySelector("nav").append(...sections.map(({ id, title }) => h("a", { href: `#${id}` }, title)));
}

// The page's load waits for its pictures, and whoever waits for the load, such as for a screenshot, sees it whole.
addEventListener("load", build);

// Triplets early and late: each anchor's similarity to its positive and to its negative. Above the diagonal they are hard.

function drawScatters(element) {
  const runs = data.shown.filter((run) => data.scatters.some((scatter) => scatter.run === run));
  if (!runs.length) {
    element.append(h("p", {}, "These runs kept no triplet scatters: they made no triplets, or an earlier version made them."));
    return true;
  }
  const box = h("div");
  element.append(h("div", { class: "controls" }, variantSelect(runs)), box);
  onChoice(runs, (run) => {
    const kinds = Map.groupBy(data.scatters.filter((scatter) => scatter.run === run), (scatter) => scatter.kind);
    box.replaceChildren(...[...kinds.values()].map((looks) => h("div", { class: "charts pair" }, ...looks.map(scatterChart))));
  });
  return true;
}

function scatterChart(scatter) {
  const canvas = h("canvas", { class: "frame", role: "img", "aria-label": `${scatter.total} triplets, ${percent(scatter.hard)} hard` });
  onSize(canvas, (context, width, height) => {
    const inset = 46, low = -0.25;
    const px = (value) => inset + ((value - low) / (1 - low)) * (width - inset - 8);
    const py = (value) => height - inset - ((value - low) / (1 - low)) * (height - inset - 8);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    context.strokeStyle = css("--grid");
    context.fillStyle = css("--quiet");
    for (const value of [0, 0.5, 1]) {
      line(context, px(value), py(low), px(value), py(1));
      line(context, px(low), py(value), px(1), py(value));
      context.textAlign = "center";
      context.fillText(String(value), px(value), height - inset + 16);
      context.textAlign = "right";
      context.fillText(String(value), inset - 6, py(value) + 4);
    }
    context.textAlign = "center";
    context.fillText("similarity to the positive", px(0.375), height - 4);
    context.save();
    context.translate(10, py(0.375));
    context.rotate(-Math.PI / 2);
    context.fillText("similarity to the negative", 0, 0);
    context.restore();
    context.strokeStyle = css("--quiet");
    line(context, px(low), py(low), px(1), py(1));
    const colors = [css("--right"), css("--wrong")];
    context.globalAlpha = 0.45;
    for (let at = 0; at < scatter.points.length; at += 2) {
      const [ap, an] = [scatter.points[at] / 1000, scatter.points[at + 1] / 1000];
      context.fillStyle = colors[Number(ap <= an)];
      context.fillRect(px(Math.max(ap, low)) - 1.5, py(Math.max(an, low)) - 1.5, 3, 3);
    }
    context.globalAlpha = 1;
  });
  return h("div", { class: "chart" }, h("h3", {}, `${scatter.kind}, step ${whole(scatter.step)}`),
    h("p", { class: "about" }, `${percent(scatter.hard)} of ${whole(scatter.total)} hard (red)`), canvas);
}

function line(context, x1, y1, x2, y2) {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}

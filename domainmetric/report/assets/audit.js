// What the audit saw of the data: what was found first, then the figures; once for all runs that had the same.

function drawAudits(element) {
  if (!data.audits.length) return false;
  for (const audit of data.audits) {
    const variants = [...new Set(audit.runs.map(variantOf))].join(", ");
    if (data.audits.length > 1) element.append(h("h3", {}, variants));
    element.append(...audit.findings.map((text) => h("p", { class: "note" }, text)));
    if (!audit.findings.length) element.append(h("p", {}, "Nothing that is known to ruin a transfer was found in the data."));
    element.append(h("details", { open: data.audits.length === 1 }, h("summary", {}, "Figures"), written(audit.rows), ...audit.common.map((text) => h("p", { class: "about" }, text))));
  }
}

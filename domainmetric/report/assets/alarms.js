// What the alarms said: one entry for each kind, with the runs and steps at which it was raised.

function drawAlarms(element) {
  if (!data.alarms.length) return false;
  const kinds = Object.groupBy(data.alarms, (alarm) => alarm.name);
  for (const [name, alarms] of Object.entries(kinds)) {
    const done = alarms.filter((alarm) => alarm.action !== "warn").map((alarm) => alarm.action);
    const lines = alarms.map((alarm) => {
      const run = data.runs.length > 1 ? `${variantOf(alarm.run)}, seed ${data.runs[alarm.run].seed}, ` : "";
      return h("li", {}, `${run}${alarm.phase}, step ${alarm.step} of the run: ${alarm.text}`);
    });
    element.append(
      h("h3", {}, name.replaceAll("_", " "), ...[...new Set(done)].map((action) => h("span", { class: "tag" }, action))),
      h("p", { class: "about" }, `${alarms[0].meaning} Try: ${alarms[0].advice}`),
      h("details", { open: alarms.length <= 5 }, h("summary", {}, `Raised ${alarms.length} time${alarms.length === 1 ? "" : "s"}`), h("ul", {}, ...lines)),
    );
  }
}

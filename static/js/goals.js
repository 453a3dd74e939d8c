// A goal's charts: a read-out under the pointer, taken from the chart's own table, and one key for all tables.

const tables = document.querySelector("[data-tables]");

tables?.addEventListener("click", () => {
  const open = tables.getAttribute("aria-pressed") !== "true";
  tables.setAttribute("aria-pressed", String(open));
  for (const one of document.querySelectorAll("details.as-table")) one.open = open;
});

function cellsOf(table) {
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent.trim());
  return [...table.tBodies[0].rows].map((row) => {
    const [when, ...values] = [...row.cells].map((cell) => cell.textContent.trim());
    return { when, lines: values.map((value, place) => [names[place], value]).filter(([, value]) => !value.startsWith("–")) };
  });
}

function lineOf([name, value]) {
  const row = document.createElement("div");
  const term = Object.assign(document.createElement("dt"), { textContent: name });
  row.append(term, Object.assign(document.createElement("dd"), { textContent: value }));
  return row;
}

for (const plot of document.querySelectorAll("[data-plot]")) {
  const canvas = plot.querySelector("[data-canvas]");
  const table = plot.querySelector(".as-table table");
  if (!canvas || !table) continue;
  const steps = cellsOf(table);
  const rule = Object.assign(document.createElement("div"), { className: "rule", hidden: true });
  const readout = Object.assign(document.createElement("dl"), { className: "readout", hidden: true });
  // A screen reader has the table itself.
  readout.setAttribute("aria-hidden", "true");
  canvas.append(rule, readout);
  let shown = -1;

  canvas.addEventListener("pointermove", (event) => {
    const { left, width } = canvas.getBoundingClientRect();
    const place = Math.min(steps.length - 1, Math.max(0, Math.round(((event.clientX - left) / width) * (steps.length - 1))));
    rule.hidden = readout.hidden = false;
    if (place === shown) return;
    shown = place;
    const share = place / (steps.length - 1);
    rule.style.left = `${share * 100}%`;
    const when = Object.assign(document.createElement("div"), { className: "when", textContent: `${steps[place].when} UTC` });
    readout.replaceChildren(when, ...steps[place].lines.map(lineOf));
    readout.style.left = share < 0.5 ? `calc(${share * 100}% + 0.75rem)` : "auto";
    readout.style.right = share < 0.5 ? "auto" : `calc(${(1 - share) * 100}% + 0.75rem)`;
  });
  canvas.addEventListener("pointerleave", () => { rule.hidden = readout.hidden = true; shown = -1; });
}

for (const form of document.querySelectorAll("form[data-submits]")) form.addEventListener("change", () => form.requestSubmit());

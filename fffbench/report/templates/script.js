// Sort by a click on a column's head, filter by text; without script the page reads whole.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("th").forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    button.title = "sort";
    head.replaceChildren(button);
    let up = false;
    button.onclick = () => {
      up = !up;
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => { const cell = row.cells[column]; return cell.dataset.s ?? cell.textContent; };
      const rows = [...body.rows].sort((a, b) => {
        const x = key(a), y = key(b), p = parseFloat(x), q = parseFloat(y);
        const order = isNaN(p) || isNaN(q) ? (isNaN(p) - isNaN(q)) || x.localeCompare(y) : p - q;
        return up ? order : -order;
      });
      body.append(...rows);
    };
  });
}
for (const table of document.querySelectorAll("table.filterable")) {
  if (table.tBodies[0].rows.length < 8) continue;
  const input = document.createElement("input");
  input.className = "filter";
  input.placeholder = "filter: words in any order, e.g. fp32 16384";
  input.setAttribute("aria-label", "filter the table");
  input.oninput = () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
  };
  table.parentElement.before(input);
}
const open = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  if (target.matches(".card")) target.focus({preventScroll: true});
  else if (target.getClientRects().length) target.scrollIntoView();
};
// A mark in a chart leads to its card, as its number in the list under the chart does without a script.
const mark = event => event.target.closest?.("figure [data-to]");
addEventListener("click", event => { if (mark(event)) location.href = mark(event).dataset.to; });
let last = null;
addEventListener("click", event => {
  const link = event.target.closest("a[href^='#']");
  if (link && !link.closest(".card")) last = link;
});
addEventListener("keydown", event => {
  if (event.key === "Escape" && document.querySelector(".card:target")) location.hash = "closed";
});
addEventListener("hashchange", () => {
  if (location.hash === "#closed" && last) last.focus({preventScroll: true});
  else open();
});
open();

// Two devices, or two runs, side by side; every figure of the table is in the data of the page.
const data = JSON.parse(document.getElementById("data")?.textContent || "{}");
const three = value => !value ? "" : value >= 100 ? value.toFixed(0) : value.toPrecision(3);
const seconds = value => {
  for (const [step, unit] of [[1, "s"], [1e-3, "ms"], [1e-6, "us"], [1e-9, "ns"]])
    if (value >= step) return three(value / step) + " " + unit;
  return "";
};
const element = (name, text, parent) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  parent?.append(made);
  return made;
};
const choose = (label, names, chosen, parent) => {
  const box = element("label", label + " ", parent), select = element("select", undefined, box);
  names.forEach((name, index) => { const option = element("option", name, select); option.value = index; });
  select.value = chosen;
  return select;
};
const verdict = (low, high) => low > 1 ? "B is faster" : high < 1 ? "A is faster" : "not decided";
const fill = (place, head, rows) => {
  place.replaceChildren();
  const table = element("table", undefined, place), top = element("tr", undefined, element("thead", undefined, table));
  head.forEach((text, index) => { const th = element("th", text, top); th.scope = "col"; if (index) th.className = "n"; });
  const body = element("tbody", undefined, table);
  for (const row of rows) {
    const line = element("tr", undefined, body);
    row.forEach((part, index) => {
      const td = element("td", undefined, line), [text, to] = [].concat(part);
      if (to) element("a", text, td).href = to; else td.textContent = text;
      if (index) td.className = "n";
    });
  }
  if (!rows.length) element("p", "Nothing was measured on both.", place);
};
const short = cell => cell.replace(/@d768-n4095-t1x12-/, " ").replace(/@/g, " ").replace(/-uniform|-s0/g, "").replaceAll("-", " ");
const samples = cell => "all.html#" + cell[3];
const picker = document.getElementById("picker");
const pair = (kind, names, first, rows, head, note) => {
  if (names.length < 2) return;
  const form = element("p", undefined, picker), place = element("div");
  const a = choose(kind + " A", names, first[0], form), b = choose(kind + " B", names, first[1], form);
  place.className = "scroll"; place.tabIndex = 0; place.setAttribute("role", "region");
  place.setAttribute("aria-label", kind + " A beside " + kind + " B");
  picker.append(place);
  element("p", note, picker).className = "small";
  const show = () => fill(place, head, rows(+a.value, +b.value));
  a.onchange = b.onchange = show;
  show();
};
if (picker && data.devices) {
  pair("Device", data.devices, [0, 1], (a, b) => data.rows.filter(([, by]) => by[a] && by[b]).map(([name, by]) => {
    const [x, y] = [by[a], by[b]], [type, batch] = name.split(" ");
    return [`${type}, batch ${batch}`, [seconds(x[0]), x[4]], [seconds(y[0]), y[4]], three(x[0] / y[0]) + "x",
      verdict(x[1] / y[2], x[2] / y[1]), [three(x[3]) + "x", x[4]], [three(y[3]) + "x", y[4]]];
  }), ["Published layer", "FFF on A", "FFF on B", "A over B", "Faster", "over dense, A", "over dense, B"],
  "Time per call of the fastest FFF kernel, with its samples; A over B is the quotient of the two. One is faster where the intervals of the two times do not meet.");
  const runs = data.runs.map(([id, machine, date]) => `${id} (${machine}, ${date})`);
  const shared = (a, b) => Object.keys(data.runs[a][3]).filter(cell => data.runs[b][3][cell]).length;
  let most = [0, 1], count = -1;
  for (let b = 1; b < runs.length; b++) for (let a = 0; a < b; a++)
    if (data.runs[a][1] === data.runs[b][1] && shared(a, b) > count) [most, count] = [[a, b], shared(a, b)];
  pair("Run", runs, most, (a, b) => Object.entries(data.runs[a][3]).filter(([cell]) => data.runs[b][3][cell])
    .map(([cell, x]) => [data.cells[cell], x, data.runs[b][3][cell]])
    .sort((p, q) => Math.abs(Math.log(q[1][0] / q[2][0])) - Math.abs(Math.log(p[1][0] / p[2][0]))).slice(0, 8)
    .map(([cell, x, y]) => [short(cell), [seconds(x[0]), samples(x)], [seconds(y[0]), samples(y)], three(x[0] / y[0]) + "x",
      verdict(x[1] / y[2], x[2] / y[1])]),
  ["Cell", "A", "B", "A over B", "Faster"],
  "Time per call of the cells that both runs measured, the eight that differ most; fffbench compare A B has all.");
}

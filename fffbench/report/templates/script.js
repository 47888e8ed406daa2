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
  for (let box = target && target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  if (target) target.scrollIntoView();
};
addEventListener("hashchange", open);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(box => { box.open = true; }));
open();

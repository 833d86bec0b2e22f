// Sorts and filters tables whose rows are all on the page. The links in the headings do the same by reload.

const text = (cell) => cell.dataset.sort ?? cell.textContent.trim();
const compare = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare;

function sortBy(table, heading) {
  const column = [...heading.parentNode.children].indexOf(heading);
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => [text(row.cells[column]), row]);
  rows.sort(([a], [b]) => (down ? -1 : 1) * compare(a, b));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function makeSortable(table) {
  for (const heading of table.tHead.rows[0].cells) {
    if (!heading.textContent.trim() || heading.querySelector(".visually-hidden")) continue;
    const handle = heading.querySelector("a") ?? document.createElement("button");
    if (handle.tagName === "BUTTON" && !heading.contains(handle)) {
      handle.type = "button";
      handle.append(...heading.childNodes);
      heading.append(handle);
    }
    handle.addEventListener("click", (event) => {
      event.preventDefault();
      sortBy(table, heading);
    });
  }
}

function makeFilterable(table) {
  const place = table.id && document.querySelector(`[data-filter-for="${table.id}"]`);
  if (!place || place.querySelector("[data-filter]") || table.tBodies[0].rows.length < 2) return;
  const label = document.createElement("label");
  label.className = "grow";
  label.append("Find in this list");
  const field = document.createElement("input");
  field.type = "search";
  field.autocomplete = "off";
  field.dataset.filter = "";
  const said = document.createElement("span");
  said.className = "visually-hidden";
  said.setAttribute("role", "status");
  label.append(field);
  place.prepend(label);
  place.append(said);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
      shown += row.hidden ? 0 : 1;
    }
    said.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
  });
  field.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
}

function start() {
  for (const table of document.querySelectorAll("table[data-table]:not([data-ready])")) {
    table.dataset.ready = "";
    makeSortable(table);
    makeFilterable(table);
  }
}

document.addEventListener("live", start);
start();

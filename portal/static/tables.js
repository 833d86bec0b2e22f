// Sorts and filters tables whose rows are all on the page. The links in the headings do the same by reload. What somebody
// chose stays when live.js brings new rows.

const text = (cell) => cell.dataset.sort ?? cell.textContent.trim();
const compare = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare;

const chosen = new Map(); // table id -> { column, down, words }
const choiceOf = (table) => chosen.get(table.id) ?? chosen.set(table.id, {}).get(table.id);

function sortBy(table, column, down) {
  const heading = table.tHead.rows[0].cells[column];
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
      const choice = choiceOf(table);
      choice.column = [...heading.parentNode.children].indexOf(heading);
      choice.down = heading.getAttribute("aria-sort") === "ascending";
      sortBy(table, choice.column, choice.down);
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
  const filter = () => {
    choiceOf(table).words = field.value;
    const wanted = field.value.trim().toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
      shown += row.hidden ? 0 : 1;
    }
    said.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
  };
  field.addEventListener("input", filter);
  if (choiceOf(table).words) {
    field.value = choiceOf(table).words;
    filter();
  }
  field.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
}

function start() {
  for (const table of document.querySelectorAll("table[data-table]:not([data-ready])")) {
    table.dataset.ready = "";
    makeSortable(table);
    makeFilterable(table);
    const { column, down } = choiceOf(table);
    if (column !== undefined) sortBy(table, column, down);
  }
}

document.addEventListener("live", start);
start();

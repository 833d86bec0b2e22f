// "Another one" without a reload: a copy of the last row, emptied. The button does the same by itself without this.

export function addRow(button) {
  const rows = button.closest("form").querySelector("[data-rows]");
  const all = rows.querySelectorAll("[data-row]");
  const row = all[all.length - 1].cloneNode(true);
  const number = all.length;
  row.classList.remove("bad");
  for (const gone of row.querySelectorAll(".wrong")) gone.remove();
  for (const part of row.querySelectorAll("[id]")) part.id = part.id.replace(/\d+/, number);
  for (const field of row.querySelectorAll("input, select")) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("required");
    const described = field.getAttribute("aria-describedby");
    if (described) field.setAttribute("aria-describedby", described.replace(/\d+/, number));
    const label = field.getAttribute("aria-label");
    if (label && /\d+$/.test(label)) field.setAttribute("aria-label", label.replace(/\d+$/, number + 1));
    if (field.type === "checkbox") {
      field.value = number;
      field.checked = true;
      field.setAttribute("aria-label", "Open the name beside");
    } else if (field.tagName === "INPUT") field.value = "";
  }
  for (const part of row.querySelectorAll(".about, [data-known]")) part.replaceChildren();
  rows.append(row);
  row.querySelector("input:not([type=checkbox])").focus();
  return row;
}

for (const button of document.querySelectorAll("[data-add-row]")) {
  button.addEventListener("click", (event) => {
    event.preventDefault();
    addRow(button);
  });
}

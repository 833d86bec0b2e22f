// The request form, better: says what is known of a name while it is typed, and keeps the folded summary in step.

import "./rows.js";

const form = document.getElementById("request-form");
const rows = form.querySelector("[data-rows]");
const waiting = new WeakMap();
const asked = new WeakMap();
const PAUSE = 300; // milliseconds after the last key

async function look(field) {
  const place = field.closest("[data-row]").querySelector("[data-known]");
  const text = field.value.trim();
  if (asked.get(field) === text) return;
  asked.set(field, text);
  if (!text) return place.replaceChildren();
  const answer = await fetch(`${form.dataset.check}?${new URLSearchParams({ tool: text })}`);
  if (!answer.ok || answer.redirected || asked.get(field) !== text) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (asked.get(field) === text) place.replaceChildren(...fresh.body.childNodes);
}

function forgive(field) {
  const row = field.closest("[data-row]");
  row.classList.remove("bad");
  field.removeAttribute("aria-invalid");
  for (const gone of row.querySelectorAll(":scope > .wrong")) gone.remove();
}

for (const field of rows.querySelectorAll("input")) asked.set(field, field.value.trim());
rows.addEventListener("input", ({ target }) => {
  forgive(target);
  clearTimeout(waiting.get(target));
  waiting.set(target, setTimeout(look, PAUSE, target));
});
rows.addEventListener("change", ({ target }) => look(target));
form.querySelector("[data-check-button]").hidden = true;

// In a field for a tool, Enter asks what is known of it; it never sends the form.
rows.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  look(event.target);
});

const summary = form.querySelector("[data-summary]");
const listed = (items) => items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
const ticked = (name) => [...form.querySelectorAll(`[name=${name}]:checked`)].map((box) => box.nextElementSibling.firstChild.textContent.trim());
const day = (name) => {
  const value = form.elements[name].value;
  const parts = { weekday: "short", month: "short", day: "numeric", year: "numeric", timeZone: "UTC" };
  return value ? new Intl.DateTimeFormat("en-US", parts).format(new Date(`${value}T00:00Z`)) : "no day yet";
};
form.querySelector("#request-scope").addEventListener("change", () => {
  const who = listed(ticked("audiences")) || "nobody yet";
  summary.textContent = `${who} at ${listed(ticked("sites")) || "no site yet"}, ${day("starts_on")} until ${day("ends_on")}`;
});

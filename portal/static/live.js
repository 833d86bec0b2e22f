// Keeps a page as it is now. The server sends the fingerprint of what the page would show; when it differs from what is
// shown, the page is fetched again and its live parts (ids that begin with "live-") take the new content. A part in which
// somebody is typing waits until they leave it; a form that holds something typed stays. The stream is closed while the
// page is hidden: browsers allow few per server.

const main = document.querySelector("main[data-live]");
let source = null;
let busy = false;
let newest = ""; // the last fingerprint heard

function untouched(part) {
  return ![...part.querySelectorAll("input, textarea, select")].some(
    (field) => field === document.activeElement || (field.type !== "hidden" && "defaultValue" in field && field.value !== field.defaultValue),
  );
}

function typing(part) {
  return part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
}

async function refresh() {
  if (busy || !newest || newest === main.dataset.seen) return;
  busy = true;
  const wanted = newest;
  let held = false;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = fresh.querySelector("main[data-live]");
    if (!now) return;
    for (const part of document.querySelectorAll("[id^='live-']")) {
      const next = fresh.getElementById(part.id);
      if (!next || part.innerHTML === next.innerHTML) continue;
      if (part.hasAttribute("data-live-form") && !untouched(part)) continue;
      if (typing(part)) {
        held = true;
        continue;
      }
      part.replaceChildren(...next.childNodes);
      part.classList.remove("arrived");
      requestAnimationFrame(() => part.classList.add("arrived"));
    }
    const menu = fresh.querySelector(".nav");
    if (menu) document.querySelector(".nav")?.replaceChildren(...menu.childNodes);
    if (!held) main.dataset.seen = now.dataset.seen;
    document.dispatchEvent(new CustomEvent("live"));
  } finally {
    busy = false;
  }
  if (newest !== wanted) refresh();
}

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(main.dataset.live);
  source.addEventListener("seen", (event) => {
    newest = event.data;
    refresh();
  });
}

function rest() {
  source?.close();
  source = null;
}

if (main) {
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  document.addEventListener("focusout", () => setTimeout(refresh));
  addEventListener("pagehide", rest);
  addEventListener("pageshow", listen);
  listen();
}

// Keeps a page as it is now. The server sends the fingerprint of what the page would show; when it differs from what is
// shown, the page is fetched again and its live parts (ids that begin with "live-") take the new content. A form that
// somebody is filling in stays. The stream is closed while the page is hidden: browsers allow few per server.

const main = document.querySelector("main[data-live]");
let source = null;
let busy = false;

function untouched(part) {
  return ![...part.querySelectorAll("input, textarea, select")].some(
    (field) => field === document.activeElement || (field.type !== "hidden" && "defaultValue" in field && field.value !== field.defaultValue),
  );
}

async function refresh(seen) {
  if (busy || seen === main.dataset.seen) return;
  busy = true;
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
      part.replaceChildren(...next.childNodes);
      part.classList.remove("arrived");
      requestAnimationFrame(() => part.classList.add("arrived"));
    }
    const menu = fresh.querySelector(".nav");
    if (menu) document.querySelector(".nav")?.replaceChildren(...menu.childNodes);
    main.dataset.seen = now.dataset.seen;
    document.dispatchEvent(new CustomEvent("live"));
  } finally {
    busy = false;
  }
}

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(main.dataset.live);
  source.addEventListener("seen", (event) => refresh(event.data));
}

function rest() {
  source?.close();
  source = null;
}

if (main) {
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  addEventListener("pagehide", rest);
  addEventListener("pageshow", listen);
  listen();
}

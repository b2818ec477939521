// What the pages can do beyond plain HTML: times in the reader's own words, new photos without a reload,
// arrow keys. Everything else works without this file.
"use strict";

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

function tellTimes() {
  for (const time of document.querySelectorAll("time")) {
    const moment = new Date(time.dateTime);
    const age = (Date.now() - moment) / 1000;
    const [unit, seconds] = UNITS.find(([, seconds]) => age >= seconds) ?? [];
    if (age > 7 * 86400) time.textContent = absolute.format(moment);
    else time.textContent = unit ? relative.format(-Math.floor(age / seconds), unit) : "just now";
    time.title = absolute.format(moment);
  }
}

tellTimes();
setInterval(tellTimes, 30_000);

// --- new photos appear: the page asks for itself, and takes over what has changed -------------------------
const sheet = document.getElementById("sheet");
const live = document.getElementById("live");
const liveText = document.getElementById("live-text");
const arrivals = document.getElementById("arrivals");
const PAUSE = 2000; // milliseconds between questions, 304 bytes each while nothing has changed
const LONGEST_PAUSE = 30_000; // while the server does not answer
const PATIENCE = 8000; // with a server that is gone without a word
let tag = null; // of the state that is shown
let failures = 0;
let timer = null;
let waiting = null; // a newer state of the page that is not shown yet

const cards = (list) => [...list.querySelectorAll(".card")];
const newCards = (page) => cards(page).filter((card) => !document.getElementById(card.id));
const photos = (number) => (number === 1 ? "1 new photo" : `${number} new photos`);

async function ask() {
  clearTimeout(timer);
  try {
    const response = await fetch(location.href, {
      cache: "no-cache",
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (!response.ok) throw new Error(response.status);
    const newTag = response.headers.get("ETag");
    if (newTag !== tag) {
      waiting = new DOMParser().parseFromString(await response.text(), "text/html");
      tag = newTag;
      // Somebody who has scrolled down is looking at something: it must not move away.
      if (window.scrollY < 200 || newCards(waiting).length === 0) show();
      else {
        arrivals.textContent = `${photos(newCards(waiting).length)} ↑`;
        arrivals.hidden = false;
      }
    }
    failures = 0;
  } catch {
    failures += 1;
  }
  live.hidden = false;
  live.classList.toggle("lost", failures > 0);
  liveText.textContent = failures ? "The server does not answer" : "Live";
  if (!document.hidden) timer = setTimeout(ask, Math.min(PAUSE * 2 ** failures, LONGEST_PAUSE));
}

function show() {
  if (!waiting) return;
  const added = newCards(waiting);
  const kept = new Set(cards(waiting).map((card) => card.id));
  for (const part of document.querySelectorAll("[data-part]")) {
    const newer = waiting.querySelector(`[data-part=${part.dataset.part}]`);
    if (!part.isEqualNode(newer)) part.replaceChildren(...newer.childNodes); // else the focus would be lost
  }
  cards(waiting).forEach((card, place) => {
    if (!added.includes(card)) return;
    card.classList.add("arrived");
    sheet.insertBefore(card, sheet.children[place] ?? null);
  });
  for (const card of cards(sheet)) {
    if (!kept.has(card.id) && !card.contains(document.activeElement)) card.remove();
  }
  if (added.length) document.getElementById("announcement").textContent = photos(added.length);
  arrivals.hidden = true;
  waiting = null;
  tellTimes();
}

if (sheet) {
  arrivals.addEventListener("click", () => {
    show();
    window.scrollTo({ top: 0 });
    sheet.querySelector("a")?.focus({ preventScroll: true });
  });
  window.addEventListener("scroll", () => window.scrollY < 200 && show(), { passive: true });
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
  ask();
}

// --- arrow keys go to the neighbors, Escape back to the gallery -------------------------------------------
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const target = { ArrowLeft: "[rel=prev]", ArrowRight: "[rel=next]", Escape: sheet ? "" : ".brand" }[event.key];
  if (target) document.querySelector(target)?.click();
});

"use strict";
// Makes pages live. They are whole without it: it asks the server for the page as it is now, and
// puts what has changed in place of what is shown.

const EACH = 2000; // milliseconds between two looks at what is running
const REST = 700; // least milliseconds between two looks at an audit

const state = document.querySelector("#state");
const say = (text) => {
  if (state && state.textContent !== text) state.textContent = text;
};
const LOST = "The server does not answer. Trying again…";

async function load(address) {
  const response = await fetch(address, { headers: { accept: "text/html" } });
  if (!response.ok && response.status !== 404) throw new Error(response.status);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return { page, gone: response.status === 404 };
}

// Put `next` in the place of `shown` unless they are equal, and leave the focus where it was.
function replace(shown, next) {
  if (!shown || !next || shown.outerHTML === next.outerHTML) return;
  const focused = shown.contains(document.activeElement) ? document.activeElement : null;
  const href = focused && focused.getAttribute("href");
  const made = document.adoptNode(next);
  shown.replaceWith(made);
  if (href !== null) {
    const again = [...made.querySelectorAll("a")].find((a) => a.getAttribute("href") === href);
    if (again) again.focus();
  }
}

// ---- the list ----

// The counts, which the page does not have if they would have taken long.
async function showCounts(next) {
  if (next.dataset.src !== undefined)
    next = (await load(next.dataset.src)).page.querySelector("#facets");
  replace(document.querySelector("#facets"), next);
}

function watchList() {
  const running = () => document.querySelector("#running");
  let timer;
  async function look() {
    clearTimeout(timer);
    try {
      const shown = running();
      const next = (await load(shown.dataset.src)).page.querySelector("#running");
      if (next === null) throw new Error("no answer of ours");
      if (next.dataset.version !== shown.dataset.version) {
        const whole = (await load(location.href)).page;
        for (const id of ["#audits", "#running"])
          replace(document.querySelector(id), whole.querySelector(id));
        showCounts(whole.querySelector("#facets"));
      } else {
        replace(shown, next);
      }
      say("");
    } catch {
      say(LOST);
    }
    if (!document.hidden) timer = setTimeout(look, EACH);
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look();
  });
  timer = setTimeout(look, EACH);
}

// ---- an audit ----

function watchAudit(live) {
  const log = document.querySelector("#events");
  let token = live.dataset.token;
  let source, looking, again, over, timer;

  // The state of the audit, and the events after the last one that is shown: each has an id, so
  // none comes twice, and none is missing between two that are shown.
  async function look() {
    if (looking) return void (again = true);
    looking = true;
    let rest = REST;
    try {
      const last = log.lastElementChild;
      const after = last ? last.id.replace("event-", "") : "0";
      const separator = live.dataset.src.includes("?") ? "&" : "?";
      const { page, gone } = await load(`${live.dataset.src}${separator}after=${after}`);
      if (gone) return void end("This audit was removed.");
      for (const next of page.querySelectorAll("[data-live]"))
        replace(document.getElementById(next.id), next);
      for (const row of page.querySelectorAll("#events > tr"))
        if (!document.getElementById(row.id)) log.append(document.adoptNode(row));
      if (log.lastElementChild) {
        log.parentElement.hidden = false;
        document.querySelector("#no-events")?.remove();
      }
      if (page.querySelector("#later")) [again, rest] = [true, 0];
      else if (over) live.dataset.status = page.querySelector("#live").dataset.status;
      say("");
    } catch {
      say(LOST);
      [again, rest] = [true, EACH];
    } finally {
      setTimeout(() => {
        looking = false;
        if (again && !(over && over.gone)) {
          again = false;
          look();
        }
      }, rest);
    }
  }

  function end(text) {
    over = { gone: text !== "" };
    if (source) source.close();
    clearTimeout(timer);
    say(text);
  }

  function follow() {
    const query = token ? `?after=${encodeURIComponent(token)}` : "";
    source = new EventSource(live.dataset.stream + query);
    source.onopen = () => say("");
    source.addEventListener("snapshot", look);
    source.onmessage = (message) => {
      token = message.lastEventId;
      look();
    };
    source.addEventListener("error", (message) => {
      if (message.data) {
        // The store is another one than the one that was shown.
        if (JSON.parse(message.data).code === "stale-token") location.reload();
        return;
      }
      if (over) return;
      say(LOST);
      // A browser comes back by itself, unless what answers is not the stream.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(follow, EACH);
    });
    source.addEventListener("end", (message) => {
      const how = JSON.parse(message.data).how;
      if (how === "closing" || how === "failed") return;
      end(how === "deleted" ? "This audit was removed." : "");
      if (how !== "deleted") look();
    });
  }
  follow();
}

// ---- two images ----

// One above the other, with a slider between them, or their difference.
function compare(pair) {
  const [before, after] = pair.querySelectorAll("figure");
  const controls = document.createElement("p");
  controls.className = "controls";
  const add = (type, text) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = type;
    label.append(input, ` ${text} (${pair.dataset.pair})`);
    controls.append(label);
    return input;
  };
  const slider = add("range", "Before or after");
  const difference = add("checkbox", "Difference");
  slider.value = 0;
  const show = () => {
    const over = difference.checked || slider.value > 0;
    pair.classList.toggle("over", over);
    pair.classList.toggle("difference", difference.checked);
    const cut = over && !difference.checked ? slider.value : 0;
    after.style.clipPath = cut ? `inset(0 0 0 ${cut}%)` : "";
  };
  slider.addEventListener("input", show);
  difference.addEventListener("change", show);
  before.parentElement.before(controls);
}

// ---- which of it is here ----

for (const pair of document.querySelectorAll("[data-pair]")) compare(pair);

const copy = document.querySelector("#copy");
if (copy && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector("#head").value);
    copy.textContent = "Copied";
  });
}

if (document.querySelector("#running")) watchList();
const facets = document.querySelector("#facets[data-src]");
if (facets) showCounts(facets).catch(() => {});
const live = document.querySelector("#live");
if (live && ["queued", "running"].includes(live.dataset.status) && !document.querySelector("#later"))
  watchAudit(live);

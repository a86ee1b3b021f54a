// Zoom, selection, search, keys, theme, print.

const SHORTEST = 0.5; // seconds of a view

function show(from, to) {
  const span = Math.min(end - start, Math.max(SHORTEST, to - from));
  const middle = (from + to) / 2;
  state.from = Math.min(Math.max(start, middle - span / 2), end - span);
  state.to = state.from + span;
  schedule();
}

let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; draw(); });
}

function zoom(factor, around = middle()) {
  const span = Math.min(end - start, Math.max(SHORTEST, (state.to - state.from) * factor));
  const share = (around - state.from) / (state.to - state.from);
  const from = Math.min(Math.max(start, around - share * span), end - span);
  show(from, from + span);
}

// The selection if it is in the view, else the middle of the view.
function middle() {
  const at = placeOf(state.selected);
  return at >= state.from && at <= state.to ? at : (state.from + state.to) / 2;
}

const pan = (share) => {
  const by = (state.to - state.from) * share;
  show(state.from + by, state.to + by);
};

const placeOf = (key) => {
  const found = [...words, ...marks, ...connections].find((one) => one.key === key);
  return found && (found.at ?? found.start ?? found.opened);
};

function select(key, { zoomIn = false } = {}) {
  state.selected = key;
  const at = placeOf(key);
  if (at !== undefined) {
    const span = zoomIn ? Math.min(state.to - state.from, 12) : state.to - state.from;
    if (zoomIn || at < state.from || at > state.to) show(at - span / 2, at + span / 2);
  }
  for (const old of document.querySelectorAll("[data-key].current")) {
    old.classList.remove("current");
  }
  if (key) {
    for (const one of document.querySelectorAll(`#story [data-key="${key}"], #transcript [data-key="${key}"]`)) {
      one.classList.add("current");
      reveal(one);
    }
  }
  details();
  draw();
}

// Scrolls the list, and never the page.
function reveal(one) {
  const list = one.closest("ol"), box = list.getBoundingClientRect();
  const own = one.getBoundingClientRect();
  if (own.top < box.top) list.scrollTop -= box.top - own.top + 20;
  else if (own.bottom > box.bottom) list.scrollTop += own.bottom - box.bottom + 20;
}

function step(list, by) {
  if (!list.length) return;
  const index = list.findIndex((one) => one.key === state.selected);
  const next = index < 0 ? (by > 0 ? 0 : list.length - 1) : index + by;
  select(list[Math.min(list.length - 1, Math.max(0, next))].key);
}

// -- search

function search() {
  const sought = byId("search").value.trim().toLocaleLowerCase();
  state.matches = sought ? [...matchingMarks(sought), ...matchingWords(sought)] : [];
  state.matches.sort((a, b) => placeOf(a) - placeOf(b));
  state.match = -1;
  state.found = new Set(state.matches);
  for (const one of document.querySelectorAll("#story [data-key], #transcript [data-key]")) {
    one.classList.toggle("match", state.found.has(one.dataset.key));
  }
  byId("found").textContent = sought ? `${state.matches.length} found` : "";
  draw();
}

const matchingMarks = (sought) => marks
  .filter((mark) => `${mark.title} ${mark.why} ${mark.kind}`.toLocaleLowerCase().includes(sought))
  .map((mark) => mark.key);

function matchingWords(sought) {
  const found = words.filter((word) => word.provider.toLocaleLowerCase() === sought);
  if (found.length || !recording.text) return found.map((word) => word.key);
  const keys = [];
  let text = "";
  const ends = words.map((word) => {
    text += `${word.text} `;
    return text.length;
  });
  const lower = text.toLocaleLowerCase();
  for (let at = lower.indexOf(sought); at >= 0; at = lower.indexOf(sought, at + 1)) {
    let index = ends.findIndex((stop) => stop > at);
    for (; index < words.length && (index ? ends[index - 1] : 0) < at + sought.length; index += 1) {
      if (keys.at(-1) !== words[index].key) keys.push(words[index].key);
    }
  }
  return [...new Set(keys)];
}

function nextMatch(by) {
  if (!state.matches.length) return;
  state.match = (state.match + by + state.matches.length) % state.matches.length;
  select(state.matches[state.match], { zoomIn: true });
  byId("found").textContent = `${state.match + 1} of ${state.matches.length}`;
}

// -- theme

function theme(next) {
  document.documentElement.dataset.theme = next;
  byId("theme").textContent = next === "dark" ? "Light" : "Dark";
}

const isDark = () => (document.documentElement.dataset.theme
  ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const toggleTheme = () => theme(isDark() ? "light" : "dark");

// -- keys

const KEYS = [
  ["/", "search", () => { byId("search").focus(); byId("search").select(); }],
  ["+", "zoom in", () => zoom(0.6)],
  ["-", "zoom out", () => zoom(1 / 0.6)],
  ["0", "whole call", () => show(start, end)],
  ["ArrowLeft", "earlier", () => pan(-0.2)],
  ["ArrowRight", "later", () => pan(0.2)],
  ["Home", "the beginning", () => show(start, start + state.to - state.from)],
  ["End", "the end", () => show(end - (state.to - state.from), end)],
  ["n", "next event", () => step(marks, 1)],
  ["p", "previous event", () => step(marks, -1)],
  ["w", "next word", () => step(words, 1)],
  ["b", "previous word", () => step(words, -1)],
  ["t", "light or dark", toggleTheme],
  ["Escape", "select nothing, end the search", () => {
    byId("search").value = "";
    search();
    select(null);
  }],
  ["?", "this help", () => byId("help").showModal()],
];

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.target === byId("search")) {
    if (event.key === "Enter") nextMatch(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") event.target.blur();
    if (event.key !== "Escape") return;
  }
  const key = event.key === "=" ? "+" : event.key;
  if (key === "Enter" || key === " ") {
    const chosen = event.target.closest?.("svg [data-key]");
    if (chosen) {
      event.preventDefault();
      select(chosen.dataset.key);
    }
    return;
  }
  const found = KEYS.find(([name]) => name === key);
  if (found) {
    event.preventDefault();
    found[2]();
  }
}

// -- mouse

let drag = null;

function onPointerDown(event) {
  if (event.button || event.pointerType === "touch") return;
  drag = { x: event.clientX, from: state.from, to: state.to, moved: false };
}

function onPointerMove(event) {
  if (!drag) return;
  const by = event.clientX - drag.x;
  if (Math.abs(by) > 4) drag.moved = true;
  if (drag.moved) show(drag.from - by / scale, drag.to - by / scale);
}

function onClick(event) {
  const wasDragged = drag?.moved;
  drag = null;
  const chosen = event.target.closest("[data-key]");
  if (wasDragged || !chosen) return;
  const all = (chosen.dataset.all ?? "").split(" ");
  if (all.length > 1 && state.to - state.from > SHORTEST) {
    const times = all.map(placeOf), margin = Math.max(2, (times.at(-1) - times[0]) * 2);
    show(times[0] - margin, times.at(-1) + margin);
  }
  select(chosen.dataset.key);
}

function onWheel(event) {
  if (event.ctrlKey || Math.abs(event.deltaY) >= Math.abs(event.deltaX)) {
    const isWhole = state.to - state.from >= end - start - 1e-9;
    if (isWhole && event.deltaY > 0) return; // the page may scroll
    event.preventDefault();
    const left = byId("timeline").getBoundingClientRect().left;
    zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, timeAt(event.clientX - left));
  } else if (event.deltaX) {
    event.preventDefault();
    show(state.from + event.deltaX / scale, state.to + event.deltaX / scale);
  }
}

function listen() {
  const svg = byId("timeline");
  svg.addEventListener("pointerdown", onPointerDown);
  addEventListener("pointermove", onPointerMove);
  addEventListener("pointerup", (event) => { if (!svg.contains(event.target)) drag = null; });
  svg.addEventListener("click", onClick);
  svg.addEventListener("wheel", onWheel, { passive: false });
  byId("story").addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-key]");
    if (chosen) select(chosen.dataset.key, { zoomIn: true });
  });
  byId("transcript").addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-key]");
    if (chosen) select(chosen.dataset.key, { zoomIn: true });
  });
  byId("overview").addEventListener("click", (event) => {
    const box = byId("overview").getBoundingClientRect();
    const share = (event.clientX - box.left - GUTTER) / (box.width - GUTTER - RIGHT);
    const at = start + share * (end - start), half = (state.to - state.from) / 2;
    show(at - half, at + half);
  });
  byId("search").addEventListener("input", search);
  byId("zoom-in").addEventListener("click", () => zoom(0.6));
  byId("zoom-out").addEventListener("click", () => zoom(1 / 0.6));
  byId("fit").addEventListener("click", () => show(start, end));
  byId("theme").addEventListener("click", toggleTheme);
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  addEventListener("keydown", onKey);
  addEventListener("resize", schedule);
  addEventListener("beforeprint", () => {
    state.printed = [state.from, state.to];
    [state.from, state.to] = [start, end];
    draw();
  });
  addEventListener("afterprint", () => { [state.from, state.to] = state.printed; draw(); });
}

for (const [key, text] of KEYS) {
  const shown = { ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" }[key] ?? key;
  byId("keys").append(element("tr", {}, element("th", { scope: "row" },
    element("kbd", {}, shown)), element("td", {}, text)));
}
head();
theme(isDark() ? "dark" : "light");
story();
transcript();
accounts();
details();
draw();
legend();
listen();

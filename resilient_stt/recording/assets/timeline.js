// The timeline: one SVG, drawn anew for every view. Only what is in the view becomes elements.

const GUTTER = 124, RIGHT = 14;
const AXIS = 22, MARKS = 30, LOUDNESS = 46, ROW = 17, WORDS = 26, LANE_GAP = 10, HELD = 40;
const GLYPHS = {
  switched: "⇄", replayed: "↻", audio_lost: "−", provider_failed: "✕", outage_started: "!",
  outage_ended: "✓", hedge_finished: "H", provider_recovered: "✓", language_routed: "A",
  stall_suspected: "?", stall_cleared: "✓", probe_passed: "✓", probe_failed: "✕",
  breaker_changed: "B",
};
const RANK = { bad: 3, doubt: 2, good: 1, info: 0 };
const FAILED = new Set(["auth", "quota", "rate_limited", "bad_request", "connect", "dropped",
  "stalled", "server", "protocol"]);

let scale = 1, width = 900;
const x = (at) => GUTTER + (at - state.from) * scale;
const timeAt = (pixel) => state.from + (pixel - GUTTER) / scale;
const isVisible = (from, to) => to >= state.from && from <= state.to;
const clamped = (at) => Math.min(width - RIGHT, Math.max(GUTTER, x(at)));

function draw() {
  const svg = byId("timeline"), focused = document.activeElement?.getAttribute?.("data-key");
  width = Math.max(560, byId("frame").clientWidth);
  scale = (width - GUTTER - RIGHT) / (state.to - state.from);
  const parts = [], lines = [];
  let y = AXIS;
  const marksAt = y;
  y += MARKS;
  parts.push(loudness(y));
  y += LOUDNESS + LANE_GAP;
  for (const name of names) {
    parts.push(lane(name, y));
    y += laneHeight(name) + LANE_GAP;
  }
  parts.push(held(y));
  y += HELD + 6;
  lines.push(axis(y), markRow(marksAt, y));
  svg.setAttribute("viewBox", `0 0 ${width} ${y}`);
  svg.setAttribute("height", y);
  svg.replaceChildren(patterns(), ...parts, ...bands(marksAt, y), ...lines);
  if (focused) svg.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  drawOverview();
}

function patterns() {
  const made = names.map((name) => {
    const stripes = element("pattern", { id: `replay-${colorOf(name)}`, width: 5, height: 5,
      patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    stripes.append(element("rect", { width: 2.4, height: 5, class: `fill ${colorOf(name)}` }));
    return stripes;
  });
  return element("defs", {}, ...made);
}

function axis(bottom) {
  const group = element("g", { class: "axis" });
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
  const step = steps.find((seconds) => seconds * scale >= 70) ?? 7200;
  for (let at = Math.ceil(state.from / step) * step; at <= state.to + 1e-9; at += step) {
    const label = step < 1 ? `${at.toFixed(1)} s` : time(at).replace(/\.0(?= s|$)/, "");
    group.append(
      element("line", { x1: x(at), x2: x(at), y1: AXIS - 4, y2: bottom, class: "grid" }),
      element("text", { x: x(at), y: 13, "text-anchor": "middle" }, label));
  }
  return group;
}

function bands(top, bottom) {
  const made = outages.map((outage) => [...outage, "outage", "No provider works."]);
  made.push([recording.input_ended, recording.end, "after",
    "The audio has ended; the stream waits for the last transcripts."]);
  return made.filter(([from, to]) => isVisible(from, to) && to - from > 0.05)
    .map(([from, to, name, title]) => {
      const box = element("rect", { x: clamped(from), y: top, height: bottom - top, class: name,
        width: clamped(to) - clamped(from) });
      box.append(element("title", {}, title));
      return box;
    });
}

function label(y, title, hint) {
  const group = element("g", { class: "label" });
  group.append(element("text", { x: 4, y: y + 13, class: "name" }, title));
  if (hint) group.append(element("text", { x: 4, y: y + 27, class: "hint" }, hint));
  return group;
}

function loudness(y) {
  const group = element("g", { class: "loudness" });
  const middle = y + LOUDNESS / 2;
  for (const [from, to] of recording.speech) {
    if (isVisible(from, to)) {
      group.append(element("rect", { x: clamped(from), y, height: LOUDNESS, class: "speech",
        width: Math.max(1, clamped(to) - clamped(from)) }));
    }
  }
  const { dbfs, step, start: first } = recording.loudness;
  const above = [], below = [];
  const size = Math.max(step, 1.5 / scale);
  for (let at = Math.max(first, state.from); at < Math.min(state.to, first + dbfs.length * step);
    at += size) {
    const begin = Math.floor((at - first) / step);
    const loudest = Math.max(...dbfs.slice(begin, Math.max(begin + 1,
      Math.floor((at - first + size) / step))));
    const height = Math.max(0.5, (LOUDNESS / 2 - 2) * Math.max(0, (loudest + 60) / 55));
    above.push(`${x(at).toFixed(1)} ${(middle - height).toFixed(1)}`);
    below.unshift(`${x(at).toFixed(1)} ${(middle + height).toFixed(1)}`);
  }
  if (above.length) {
    group.append(element("path", { d: `M${above.join("L")}L${below.join("L")}Z`, class: "wave" }));
  }
  group.append(label(y, "Audio", "shaded: speech"));
  return group;
}

const laneHeight = (name) => Math.max(34, rowsOf[name] * ROW + WORDS + 2);

function lane(name, y) {
  const group = element("g", { class: `lane ${colorOf(name)}` });
  const wordsAt = y + rowsOf[name] * ROW;
  group.append(
    element("rect", { x: GUTTER, y: y - 3, width: width - GUTTER - RIGHT,
      height: laneHeight(name) + 4, class: "ground" }),
    element("rect", { x: 0, y: y - 3, width: 4, height: laneHeight(name) + 4,
      class: `fill ${colorOf(name)}` }));
  const title = label(y, name, "").firstChild;
  title.setAttribute("x", 10);
  group.append(title, element("text", { x: 10, y: wordsAt + 16, class: "hint" }, "words"));
  for (const connection of connections) {
    if (connection.provider === name && isVisible(connection.begin, connection.closed)) {
      group.append(bar(connection, y + connection.row * ROW));
    }
  }
  group.append(wordStrip(name, wordsAt));
  return group;
}

function bar(connection, y) {
  const color = colorOf(connection.provider);
  const group = element("g", { class: "connection", "data-key": connection.key, role: "button",
    tabindex: 0, "aria-label": connectionTitle(connection) });
  for (const [from, to] of connection.again) {
    if (isVisible(from, to)) {
      group.append(element("rect", { x: clamped(from), y: y + 1, height: 11, class: "replay",
        width: Math.max(2, clamped(to) - clamped(from)), fill: `url(#replay-${color})` }));
    }
  }
  connection.roles.forEach((period, index) => {
    const until = connection.roles[index + 1]?.at ?? connection.closed;
    if (!isVisible(period.at, until)) return;
    const left = clamped(period.at), wide = Math.max(2.5, clamped(until) - left);
    group.append(element("rect", { x: left, y: y + 1, width: wide, height: 11, rx: 2,
      class: `role ${period.role} ${color}` }));
    if (wide > 52) {
      group.append(element("text", { x: left + 5, y: y + 10, class: `in-bar ${period.role}` },
        period.role));
    }
  });
  const ticks = { interim_transcript: 3, preflight_transcript: 3, final_transcript: 6 };
  const path = connection.texts.filter(([at]) => isVisible(at, at))
    .map(([at, kind]) => `M${x(at).toFixed(1)} ${y + 13}v${ticks[kind] ?? 3}`);
  if (path.length) group.append(element("path", { d: path.join(""), class: `ticks ${color}` }));
  if (FAILED.has(connection.reason) && isVisible(connection.closed, connection.closed)) {
    group.append(element("text", { x: clamped(connection.closed), y: y + 11, class: "broken",
      "text-anchor": "middle" }, "✕"));
  }
  if (state.selected === connection.key) group.classList.add("selected");
  group.append(element("title", {}, connectionTitle(connection)));
  return group;
}

function connectionTitle(connection) {
  const roles = connection.roles.map((period) => period.role).join(", then ");
  return `Connection ${connection.id} to ${connection.provider} (${roles}): `
    + `${time(connection.opened)} to ${time(connection.closed)}`
    + (connection.why ? `; closed because ${connection.why}` : "");
}

function wordStrip(name, y) {
  const group = element("g", { class: "words" });
  const narrow = [];
  for (const word of words) {
    if (word.provider !== name || !isVisible(word.start, word.end)) continue;
    const left = clamped(word.start), wide = clamped(word.end) - left;
    const isMarked = state.selected === word.key || state.found.has(word.key);
    if (wide < 3 && !isMarked && !word.isLate) {
      narrow.push(`M${left.toFixed(1)} ${y + 2}h${Math.max(1, wide - 0.4).toFixed(1)}v18h-${
        Math.max(1, wide - 0.4).toFixed(1)}z`);
      continue;
    }
    group.append(wordBox(word, left, Math.max(2, wide - 1), y));
  }
  if (narrow.length) group.prepend(element("path", { d: narrow.join(""), class: "narrow" }));
  return group;
}

const pen = document.createElement("canvas").getContext("2d");
const widths = new Map();

function textWidth(text) {
  pen.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif";
  if (!widths.has(text)) widths.set(text, pen.measureText(text).width);
  return widths.get(text);
}

// The text, or its beginning and an ellipsis; empty if not even two letters fit.
function fitted(text, wide) {
  if (textWidth(text) <= wide) return text;
  const letters = Math.floor(text.length * (wide - textWidth("…")) / textWidth(text));
  return letters >= 2 ? `${text.slice(0, letters)}…` : "";
}

function wordBox(word, left, wide, y) {
  const group = element("g", { class: `word ${colorOf(word.provider)}`, "data-key": word.key });
  group.append(element("rect", { x: left, y: y + 2, width: wide, height: 18, rx: 2 }));
  const shown = recording.text ? word.text : "·".repeat(Math.min(word.length, 8));
  const fitting = fitted(shown, wide - 3);
  if (fitting) {
    group.append(element("text", { x: left + wide / 2, y: y + 15, "text-anchor": "middle" },
      fitting));
  }
  if (word.final.replayed) {
    group.append(element("line", { x1: left, x2: left + wide, y1: y + 22, y2: y + 22,
      class: `again ${colorOf(word.provider)}` }));
  }
  if (word.isLate) {
    group.append(element("path", { class: "late",
      d: `M${left + wide / 2 - 4} ${y - 3}h8l-4 6z` }));
  }
  if (state.selected === word.key) group.classList.add("selected");
  if (state.found.has(word.key)) group.classList.add("match");
  group.append(element("title", {}, `${spoken(word)}: ${word.provider}, ${time(word.start)}`
    + (word.isLate ? ", late" : "")));
  return group;
}

function held(y) {
  const group = element("g", { class: "held" });
  const most = Math.max(2, ...recording.held.map(([, seconds]) => seconds));
  const height = (seconds) => (HELD - 2) * seconds / most;
  const line = recording.held.filter(([at], index) =>
    isVisible(at, recording.held[index + 1]?.[0] ?? at)
      || isVisible(recording.held[index - 1]?.[0] ?? at, at));
  if (line.length) {
    const bottom = y + HELD;
    const edge = line.map(([at, seconds]) =>
      `${clamped(at).toFixed(1)} ${(bottom - height(seconds)).toFixed(1)}`);
    group.append(element("path", { class: "fill-area",
      d: `M${clamped(line[0][0])} ${bottom}L${edge.join("L")}L${clamped(line.at(-1)[0])} ${bottom}Z` }));
  }
  group.append(
    element("line", { x1: GUTTER, x2: width - RIGHT, y1: y + HELD, y2: y + HELD, class: "base" }),
    element("text", { x: GUTTER - 6, y: y + 10, "text-anchor": "end", class: "hint" },
      `${most.toFixed(most < 10 ? 1 : 0)} s`),
    element("text", { x: GUTTER - 6, y: y + HELD, "text-anchor": "end", class: "hint" }, "0"),
    label(y, "Buffer", "kept for replay"),
    element("title", {}, `Audio that is kept, to be sent again should a provider fail. At most ${
      recording.replay_window} s.`));
  return group;
}

function markRow(y, bottom) {
  const row = element("g", { class: "marks" });
  row.append(label(y + 4, "Events", ""));
  const clusters = [];
  for (const mark of marks) {
    if (!isVisible(mark.at, mark.at)) continue;
    const last = clusters.at(-1);
    if (last && x(mark.at) - x(last[0].at) < 34) last.push(mark);
    else clusters.push([mark]);
  }
  for (const cluster of clusters) row.append(markGlyph(cluster, y, bottom));
  return row;
}

function markGlyph(cluster, y, bottom) {
  const worst = cluster.reduce((a, b) => {
    const byKind = (b.kind === "switched") - (a.kind === "switched");
    return (byKind || RANK[b.severity] - RANK[a.severity]) > 0 ? b : a;
  });
  const group = element("g", { class: `mark ${worst.severity}`, tabindex: 0, role: "button",
    "data-key": worst.key, "data-all": cluster.map((mark) => mark.key).join(" "),
    "aria-label": cluster.map((mark) => `${time(mark.at)}: ${mark.title}`).join("; ") });
  const at = x(cluster[0].at);
  for (const mark of cluster) {
    const own = x(mark.at);
    group.append(element("line", { x1: own, x2: own, y1: y + 24, y2: bottom, class: "stem" }));
  }
  group.append(
    element("circle", { cx: at, cy: y + 14, r: 9.5 }),
    element("text", { x: at, y: y + 18.5, "text-anchor": "middle" },
      GLYPHS[worst.kind] ?? "•"));
  if (cluster.length > 1) {
    group.append(element("text", { x: at + 10, y: y + 9, class: "count" },
      `+${cluster.length - 1}`));
  }
  if (cluster.some((mark) => mark.key === state.selected)) group.classList.add("selected");
  if (cluster.some((mark) => state.found.has(mark.key))) group.classList.add("match");
  group.append(element("title", {},
    cluster.map((mark) => `${time(mark.at)}: ${mark.title}`).join("\n")));
  return group;
}

function drawOverview() {
  const svg = byId("overview").firstElementChild;
  const at = (seconds) => GUTTER + (seconds - start) / (end - start) * (width - GUTTER - RIGHT);
  svg.setAttribute("viewBox", `0 0 ${width} 16`);
  const parts = [element("rect", { x: GUTTER, y: 5, width: width - GUTTER - RIGHT, height: 6,
    class: "track" })];
  for (const mark of marks) {
    if (mark.severity === "bad" || mark.severity === "doubt") {
      parts.push(element("rect", { x: at(mark.at) - 1, y: 2, width: 2, height: 12,
        class: mark.severity }));
    }
  }
  parts.push(element("rect", { x: at(state.from), y: 1, height: 14, rx: 2, class: "window",
    width: Math.max(4, at(state.to) - at(state.from)) }));
  svg.replaceChildren(...parts);
}

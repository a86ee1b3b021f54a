// The recording, as the page uses it. Nothing in it is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const recording = JSON.parse(document.getElementById("recording").textContent);
const byId = (id) => document.getElementById(id);

const names = [...new Set([
  ...recording.providers.map((provider) => provider.name),
  ...recording.connections.map((connection) => connection.provider),
  ...recording.finals.map((final) => final.provider),
])];
const COLORS = 6;
const colorOf = (provider) =>
  names.includes(provider) ? `p${names.indexOf(provider) % COLORS}` : "p-none";

const words = [];
recording.finals.forEach((final, number) => {
  const late = final.late !== null && final.late > recording.late_after;
  for (const word of final.words) {
    words.push({ ...word, key: `word-${words.length}`, final, number, provider: final.provider,
      isLate: late });
  }
});
const marks = recording.marks.map((mark, index) => ({ ...mark, key: `mark-${index}` }));
const connections = recording.connections.map((connection) => {
  // A long outage has many attempts that came to nothing: what they were sent would hide the rest.
  const again = connection.texts.length ? connection.replayed : [];
  return {
    ...connection,
    key: `connection-${connection.id}`,
    again,
    begin: Math.min(connection.opened, ...again.map((span) => span[0])),
  };
});
const outages = marks.filter((mark) => mark.kind === "outage_started").map((mark) => [
  mark.at,
  marks.find((one) => one.kind === "outage_ended" && one.at >= mark.at)?.at ?? recording.end,
]);

// Connections to one provider that overlap are drawn below each other.
const rowsOf = Object.fromEntries(names.map((name) => [name, 1]));
for (const name of names) {
  const ends = [];
  for (const connection of connections.filter((c) => c.provider === name)) {
    let row = ends.findIndex((end) => end <= connection.begin);
    if (row < 0) row = ends.length;
    ends[row] = connection.closed;
    connection.row = row;
  }
  rowsOf[name] = Math.max(1, ends.length);
}

const start = recording.start;
const end = Math.max(recording.end, start + 1);
const state = { from: start, to: end, selected: null, matches: [], found: new Set(), match: -1 };

function element(name, attributes = {}, ...children) {
  const isSvg = ["svg", "g", "path", "rect", "line", "text", "title", "circle", "defs", "pattern"];
  const made = isSvg.includes(name)
    ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function time(seconds) {
  const sign = seconds < 0 ? "−" : "", value = Math.abs(seconds);
  if (value < 60) return `${sign}${value.toFixed(1)} s`;
  const minutes = Math.floor(value / 60), rest = (value - minutes * 60).toFixed(1);
  return `${sign}${minutes}:${rest.padStart(4, "0")}`;
}

const duration = (seconds) => seconds < 10 ? `${seconds.toFixed(2)} s` : time(seconds);
const spoken = (word) => recording.text ? word.text : `(a word of ${word.length} letters)`;

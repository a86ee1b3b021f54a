// What is beside the timeline: the head, the details, the story, the transcript, the accounts.

function chip(provider) {
  return element("span", { class: `chip ${colorOf(provider)}` }, provider || "–");
}

function head() {
  byId("result").textContent = recording.result;
  const begun = new Date(recording.started);
  const facts = [`Stream ${recording.stream_id}`, begun.toLocaleString(undefined,
    { dateStyle: "medium", timeStyle: "medium" })];
  if (recording.language) facts.push(`language ${recording.language}`);
  if (!recording.text) facts.push("recorded without words");
  byId("about").append(`${facts.join(" · ")} · `);
  recording.providers.forEach((provider, index) => {
    byId("about").append(index ? ", then " : "", chip(provider.name), ` ${provider.model}`);
  });
  const accounts = recording.accounts, late = accounts.lateness;
  const switches = accounts.switches.reduce((sum, one) => sum + one.count, 0);
  const figures = [
    ["Audio", time(accounts.pushed), "pushed"],
    ["Lost", `${accounts.lost.toFixed(1)} s`, "lost"],
    ["Switches", switches, "switches"],
    ["Words", Object.values(accounts.words).reduce((sum, count) => sum + count, 0), "words"],
    ["Finals came", late.count ? `${late.p50.toFixed(1)} s after the last word` : "–", "p50"],
    ["The latest", late.count ? `${late.worst.toFixed(1)} s` : "–", "worst"],
  ];
  for (const [name, value, figure] of figures) {
    const shown = element("div", {});
    shown.append(element("dt", {}, name), element("dd", { "data-figure": figure }, `${value}`));
    byId("figures").append(shown);
  }
  byId("footer").textContent = `${recording.software}, recording version ${recording.version}. `
    + `Started ${recording.started}.`;
}

function legend() {
  const swatch = (kind, text) => {
    const item = element("li", {});
    const box = element("svg", { viewBox: "0 0 30 16", width: 30, height: 16,
      "aria-hidden": "true" });
    const shapes = {
      active: () => [element("rect", { x: 1, y: 3, width: 28, height: 10, rx: 2,
        class: "role active p0" })],
      hedge: () => [element("rect", { x: 1, y: 3, width: 28, height: 10, rx: 2,
        class: "role hedge p0" })],
      probe: () => [element("rect", { x: 1, y: 3, width: 28, height: 10, rx: 2,
        class: "role probe p0" })],
      replay: () => [element("rect", { x: 1, y: 3, width: 28, height: 10, class: "replay p0",
        fill: "url(#replay-p0)" })],
      ticks: () => [element("path", { d: "M6 2v5M12 2v5M20 2v10", class: "ticks p0" })],
      again: () => [element("line", { x1: 1, x2: 29, y1: 8, y2: 8, class: "again p0" })],
      outage: () => [element("rect", { x: 1, y: 1, width: 28, height: 14, class: "outage" })],
      late: () => [element("path", { d: "M11 5h8l-4 6z", class: "late" })],
    };
    box.append(...shapes[kind]());
    item.append(box, text);
    byId("legend").append(item);
  };
  swatch("active", "active: serves the call");
  const roles = new Set(connections.flatMap((c) => c.roles.map((period) => period.role)));
  if (roles.has("hedge")) swatch("hedge", "hedge: checks another connection");
  if (roles.has("probe") || roles.has("reconnect")) {
    swatch("probe", "probe or reconnect: finds out whether a provider works");
  }
  if (outages.length) swatch("outage", "no provider works");
  if (connections.some((c) => c.again.length)) {
    swatch("replay", "audio from before it was opened, sent again");
  }
  swatch("ticks", "text came (long: a final transcript)");
  if (recording.finals.some((final) => final.replayed)) {
    swatch("again", "words from audio that was sent again");
  }
  if (words.some((word) => word.isLate)) {
    swatch("late", `word that came more than ${recording.late_after} s late`);
  }
}

// A longer list has a height of its own, and its lines are drawn only where they are seen.
const LONG_LIST = 30;

function story() {
  const list = byId("story");
  list.classList.toggle("long", recording.marks.length > LONG_LIST);
  if (!marks.length) list.append(element("li", { class: "none" }, "Nothing special."));
  for (const mark of marks) {
    const button = element("button", { type: "button", "data-key": mark.key,
      class: mark.severity });
    button.append(
      element("span", { class: "at" }, time(mark.at)),
      element("span", { class: "glyph", "aria-hidden": "true" }, GLYPHS[mark.kind] ?? "•"));
    const told = element("span", { class: "told" });
    told.append(element("strong", {}, mark.title), element("span", { class: "why" }, mark.why));
    button.append(told);
    list.append(element("li", {}, button));
  }
}

function transcript() {
  const list = byId("transcript");
  list.classList.toggle("long", recording.finals.length > LONG_LIST);
  list.style.setProperty("--names", `${Math.max(6, ...names.map((name) => name.length)) + 3}ch`);
  if (!recording.finals.length) {
    list.append(element("li", { class: "none" }, "No final transcript came."));
  }
  let index = 0;
  recording.finals.forEach((final, number) => {
    const item = element("li", { "data-final": number });
    const late = final.late === null ? "" : `+${final.late.toFixed(1)} s`;
    const isLate = final.late !== null && final.late > recording.late_after;
    item.append(element("span", { class: "at" }, time(final.start)), chip(final.provider));
    const text = element("span", { class: "text" });
    for (const word of final.words) {
      text.append(element("span", { class: "w", "data-key": `word-${index}` },
        recording.text ? word.text : "·".repeat(Math.max(1, word.length))), " ");
      index += 1;
    }
    item.append(text, element("span", { class: isLate ? "lateness is-late" : "lateness",
      title: "from the end of the last word to the final transcript" },
    isLate ? `late: ${late}` : late));
    list.append(item);
  });
}

function table(caption, heads, rows) {
  const made = element("table", {}, element("caption", {}, caption));
  const top = element("tr", {});
  heads.forEach((name) => top.append(element("th", { scope: "col" }, name)));
  made.append(element("thead", {}, top));
  const body = element("tbody", {});
  for (const row of rows) {
    const line = element("tr", {});
    row.forEach((cell, index) => {
      const isNumber = typeof cell === "number";
      const shown = element(index ? "td" : "th", index ? {} : { scope: "row" });
      if (isNumber) shown.classList.add("number");
      shown.append(isNumber ? (Number.isInteger(cell) && heads[index] !== "seconds"
        ? `${cell}` : cell.toFixed(3)) : cell);
      line.append(shown);
    });
    body.append(line);
  }
  made.append(body);
  return made;
}

function accounts() {
  const a = recording.accounts, panel = byId("accounts");
  byId("accounts-note").textContent = recording.accounts_complete
    ? "Every second of audio is in exactly one line of the first table."
    : "The stream did not end in order, so these are only what could be counted by then.";
  const audio = [["pushed by the caller", a.pushed]];
  const kinds = [["final", "covered by final transcripts"], ["silence", "silence, or noise"],
    ["lost", "lost"], ["buffered", "still buffered at the end"]];
  for (const [name, text] of kinds) {
    if (name in a) audio.push([`${audio.length === 1 ? "=" : "+"} ${text}`, a[name]]);
  }
  panel.append(table("What became of the audio", ["audio", "seconds"], audio));
  panel.append(table("What was sent, and so is paid for", ["provider", "role", "seconds"],
    a.sent.map((one) => [chip(one.provider), one.role, one.seconds])));
  panel.append(table("Words in final transcripts", ["provider", "words"],
    Object.entries(a.words).map(([name, count]) => [chip(name), count])));
  panel.append(table("Switches", ["from", "to", "because", "times"],
    a.switches.map((one) => [chip(one.from_provider), chip(one.to_provider),
      one.reason.replaceAll("_", " "), one.count])));
  const late = a.lateness;
  panel.append(table("Final transcripts came after their last word", ["", "seconds"], [
    ["half of them within", late.p50], ["99 of 100 within", late.p99], ["the latest", late.worst]]));
}

function rows(pairs) {
  const list = element("dl", {});
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    list.append(element("dt", {}, name), element("dd", {}, value));
  }
  return list;
}

function details() {
  const panel = byId("detail"), key = state.selected ?? "";
  const word = words.find((one) => one.key === key);
  const mark = marks.find((one) => one.key === key);
  const connection = connections.find((one) => one.key === key);
  panel.replaceChildren();
  if (word) panel.append(...wordDetails(word));
  else if (mark) panel.append(...markDetails(mark));
  else if (connection) panel.append(...connectionDetails(connection));
  else panel.append(element("p", { class: "none" },
    "Click a word, an event or a connection. Press ? for all keys."));
}

function wordDetails(word) {
  const late = word.late === null ? "" : `${duration(word.late)} after it was spoken`
    + (word.isLate ? " (late)" : "");
  return [
    element("h3", {}, spoken(word)),
    rows([
      ["spoken", `${time(word.start)} to ${time(word.end)}`
        + (word.timed ? "" : " (about: the provider gave no word times)")],
      ["transcribed by", chip(word.provider)],
      ["came", late && `${late}, at ${time(word.final.at)}`],
      ["replayed", word.final.replayed
        ? "yes: the audio was buffered, and sent again to this connection" : ""],
      ["connection", word.final.connection === null ? "" : `${word.final.connection}`],
      ["sentence", recording.text ? word.final.text : ""],
    ]),
  ];
}

function markDetails(mark) {
  const fields = Object.entries(mark.event)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : `${value}`]);
  const more = element("details", {}, element("summary", {}, `Event ${mark.kind}`), rows(fields));
  return [
    element("h3", {}, `${time(mark.at)}: ${mark.title}`),
    element("p", {}, mark.why),
    more,
  ];
}

function connectionDetails(connection) {
  const again = connection.replayed.reduce((sum, [from, to]) => sum + to - from, 0);
  return [
    element("h3", {}, `Connection ${connection.id} to ${connection.provider}`),
    rows([
      ["role", connection.roles.map((one) => `${one.role} from ${time(one.at)}`).join(", ")],
      ["opened", time(connection.opened)],
      ["connected", connection.established === null ? ""
        : `after ${duration(connection.established - connection.opened)}`],
      ["closed", `${time(connection.closed)}${connection.why ? `, because ${connection.why}` : ""}`],
      ["language", connection.language],
      ["sent", `${duration(connection.sent)} of audio`],
      ["sent again", again ? `${duration(again)} from before it was opened` : ""],
      ["gave text", `${connection.texts.length} times`],
    ]),
  ];
}

// Returns how many texts were looked at, and those whose contrast is too low (WCAG 2.2 AA).
() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const over = (colors) => { // paints colors on each other, the lowest first
    pen.clearRect(0, 0, 1, 1);
    for (const color of colors) { pen.fillStyle = color; pen.fillRect(0, 0, 1, 1); }
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const clear = new Set(["rgba(0, 0, 0, 0)", "transparent", "none"]);
  const behind = (element) => { // of HTML: the backgrounds of all parents
    const colors = [];
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (!clear.has(color)) colors.unshift(color);
    }
    return colors;
  };
  const drawnBelow = (text) => { // of SVG: the filled shapes below its middle
    const box = text.getBoundingClientRect();
    const all = document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    const shapes = all.slice(all.indexOf(text) + 1).filter((one) =>
      ["rect", "circle"].includes(one.tagName)
      && !clear.has(getComputedStyle(one).fill) && !getComputedStyle(one).fill.startsWith("url"));
    return [...behind(document.getElementById("frame")),
      ...shapes.reverse().map((one) => getComputedStyle(one).fill)];
  };
  const low = [];
  let texts = 0;
  const check = (name, color, colors, least) => {
    texts += 1;
    const ratio = contrast(over([...colors, color]), over(colors));
    if (ratio < least) low.push(`${name}: ${ratio.toFixed(2)}, ${color} on ${colors.at(-1)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    if (element.namespaceURI.endsWith("svg")) {
      if (element.tagName !== "text") continue;
      const box = element.getBoundingClientRect();
      if (box.bottom > innerHeight || !box.width || element.classList.contains("broken")) continue;
      check(text, getComputedStyle(element).fill, drawnBelow(element), 4.5);
    } else if (element.getClientRects().length) {
      check(text, getComputedStyle(element).color, behind(element), 4.5);
    }
  }
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  for (const ground of ["--bg", "--panel"]) {
    for (const name of ["--p0", "--p1", "--p2", "--p3", "--p4", "--p5", "--wave", "--focus"]) {
      check(`${name} on ${ground}`, value(name), [value(ground)], 3);
    }
    for (const name of ["--bad", "--doubt", "--good", "--info"]) {
      check(`${name} on ${ground}`, value(name), [value(ground)], 4.5);
    }
  }
  for (const name of ["--p0", "--p1", "--p2", "--p3", "--p4", "--p5", "--bad", "--good"]) {
    check(`--on on ${name}`, value("--on"), [value(name)], 4.5);
  }
  return { texts, low };
}

// Evaluated in a page; returns what is wrong with it for people who see, hear or point differently.
() => {
  const problems = [];
  const shown = (element) => {
    const box = element.getBoundingClientRect();
    return element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && box.width > 1 && box.height > 1;
  };
  const said = (element) => `${element.tagName.toLowerCase()}.${element.className || "-"} "${element.textContent.trim().slice(0, 30)}"`;

  // Colours are painted to a canvas, which understands every notation that computed styles use.
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return { rgb: [r, g, b], a: a / 255 };
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const layer = rgba(getComputedStyle(at).backgroundColor);
      if (layer.a > 0) layers.push(layer);
      if (layer.a === 1) break;
    }
    return layers.reverse().reduce((under, { rgb, a }) => rgb.map((value, i) => value * a + under[i] * (1 - a)), [255, 255, 255]);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };

  for (const element of document.body.querySelectorAll("*")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    if (!hasText || !shown(element) || element.closest("[aria-hidden=true], noscript, option")) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const measured = contrast(rgba(style.color).rgb, behind(element));
    if (measured < needed) problems.push(`contrast ${measured.toFixed(2)} of ${said(element)}`);
  }

  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (!field.labels?.length && !field.getAttribute("aria-label")) problems.push(`no label: ${field.name || field.id}`);
  }
  for (const element of document.querySelectorAll("a, button")) {
    const name = element.getAttribute("aria-label") || element.textContent.trim();
    if (!name && element.getAttribute("aria-hidden") !== "true") problems.push(`no name: ${element.outerHTML.slice(0, 80)}`);
  }
  for (const image of document.images) if (!image.hasAttribute("alt")) problems.push(`no alt: ${image.src}`);
  for (const image of document.querySelectorAll("svg")) {
    const named = image.getAttribute("aria-label") && ["img", "progressbar"].includes(image.getAttribute("role"));
    if (!named && image.getAttribute("aria-hidden") !== "true") problems.push(`an svg that is neither named nor hidden`);
  }

  const sized = ".button, .chip, .nav a, select, summary, input:not([type=hidden], .away-input, [type=file])";
  for (const element of document.querySelectorAll(sized)) {
    const box = element.getBoundingClientRect();
    if (shown(element) && (box.height < 43.5 || box.width < 43.5)) problems.push(`${box.width} x ${box.height} px: ${said(element)}`);
  }

  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) problems.push(`two elements with the id ${id}`);
  if (document.querySelectorAll("h1").length !== 1) problems.push(`${document.querySelectorAll("h1").length} h1`);
  if (!document.title || !document.documentElement.lang) problems.push("no title or language");
  if (!document.querySelector("main") || !document.querySelector(".skip")) problems.push("no main or no skip link");
  const foot = document.querySelector(".foot");
  const isDisclaimed = document.documentElement.lang === "en" ? foot.textContent.includes("Decision support, not a diagnosis") : foot.querySelector("strong")?.textContent;
  if (!isDisclaimed) problems.push("no disclaimer");
  for (const cell of document.querySelectorAll("td.file")) {
    if (cell.getBoundingClientRect().width < 120) problems.push(`no room for the name in ${said(cell)}`);
  }
  const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (over > 0) problems.push(`scrolls sideways by ${over} px`);
  return problems;
}

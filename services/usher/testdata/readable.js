// Returns what is wrong with the page: controls without a name, texts with too little contrast, ids
// that are there twice, tables without headings, content wider than the window.
(() => {
  const problems = [];
  const name = (e) => `${e.tagName.toLowerCase()}${e.id ? "#" + e.id : ""}${e.className && typeof e.className === "string" ? "." + e.className.split(" ").join(".") : ""} ${JSON.stringify((e.textContent || "").trim().slice(0, 30))}`;
  const shown = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });

  if (document.documentElement.lang === "") problems.push("the page has no language");
  if (document.title.trim() === "") problems.push("the page has no title");
  if (document.querySelectorAll("h1").length !== 1) problems.push(`the page has ${document.querySelectorAll("h1").length} h1`);
  if (document.querySelectorAll("main").length !== 1) problems.push("the page has not one main");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) problems.push(`the id ${id} is there twice`);
  for (const attribute of ["aria-labelledby", "aria-describedby", "aria-controls"])
    for (const e of document.querySelectorAll(`[${attribute}]`))
      for (const id of e.getAttribute(attribute).trim().split(/\s+/)) if (!document.getElementById(id)) problems.push(`${name(e)} names ${id}, which is not there`);
  for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
    if (!(e.labels && [...e.labels].some((l) => l.textContent.trim() !== "")) && !e.getAttribute("aria-label")) problems.push(`${name(e)} has no label`);
  for (const e of document.querySelectorAll("a[href], button, summary")) if (e.textContent.trim() === "" && !e.getAttribute("aria-label")) problems.push(`${name(e)} has no name`);
  for (const e of document.querySelectorAll("img")) if (!e.hasAttribute("alt")) problems.push(`${name(e)} has no alt`);
  for (const e of document.querySelectorAll("svg")) if (!e.closest("[aria-hidden=true]") && !e.getAttribute("aria-label")) problems.push("an svg is neither named nor hidden");
  for (const t of document.querySelectorAll("table")) {
    if (!t.caption) problems.push("a table has no caption");
    for (const h of t.querySelectorAll("thead th")) if (h.scope !== "col" || h.textContent.trim() === "") problems.push(`${name(h)} is no heading of a column`);
  }

  const parse = (c) => { const n = c.match(/[\d.]+/g).map(Number); return { r: n[0], g: n[1], b: n[2], a: n[3] ?? 1 }; };
  const over = (top, under) => ({ r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a), b: top.b * top.a + under.b * (1 - top.a), a: 1 });
  const channel = (v) => { const c = v / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const luminance = (c) => 0.2126 * channel(c.r) + 0.7152 * channel(c.g) + 0.0722 * channel(c.b);
  const ground = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const c = parse(getComputedStyle(at).backgroundColor);
      if (c.a > 0) layers.push(c);
      if (c.a === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 });
  };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (node.textContent.trim() === "" || !shown(e) || e.closest(".sr, .skip, script")) continue;
    texts++;
    const style = getComputedStyle(e), under = ground(e), text = over(parse(style.color), under);
    const [dark, light] = [luminance(text), luminance(under)].sort((a, b) => a - b);
    const ratio = (light + 0.05) / (dark + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) problems.push(`${name(e)} has a contrast of ${ratio.toFixed(2)}`);
  }
  if (texts === 0) problems.push("the page shows no text");
  const wide = document.documentElement.scrollWidth - window.innerWidth;
  if (wide > 0) problems.push(`the page is ${wide} pixels wider than the window`);
  return problems.join("\n");
})()

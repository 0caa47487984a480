// The page of a stay: bars, plots, the timeline, and claims that say their verdict.
function bar({ p, t, low, high, share }) {
  const made = html("b", "bar");
  const svg = element("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  const length = 100 * Math.min(Math.abs(Number(share ?? p)), 1);
  svg.append(element("rect", { class: "track", width: 100, height: 10 }));
  svg.append(element("rect", { class: p && Number(p) < Number(t) ? "fill idle" : "fill", width: length, height: 10 }));
  if (low) svg.append(element("path", { class: "whisker", d: `M${100 * low} 5H${100 * high}M${100 * low} 2v6M${100 * high} 2v6` }));
  if (t) svg.append(element("path", { class: "tick", d: `M${100 * Math.min(t, 1)} 0v10` }));
  made.append(svg);
  return made;
}

// The bar of a probability, from its words: ".325 .096–.684".
function barOf(belief) {
  const [low, high] = belief.querySelector("small")?.textContent.split("–") || [];
  return bar({ p: belief.querySelector("b").textContent, t: belief.dataset.t, low, high });
}

function legend(...keys) {
  const list = html("p", "legend");
  keys.forEach(([sign, words, mark = ""], i) => {
    const key = html("span", "", ` ${words}`);
    key.prepend(html("b", sign, mark));
    list.append(i ? " " : "", sign ? key : html("span", "", words));
  });
  return list;
}

// The card of the timeline; without a script there is none.
function timelineCard(others, plots, hours) {
  const card = html("section", "card");
  card.setAttribute("aria-labelledby", "timeline");
  const [head, title, root] = [html("div", "head"), html("h2", "", "Timeline"), html("div", "timeline")];
  title.id = "timeline";
  head.append(title, legend(["h", "above its range", "▲"], ["l", "below", "▼"], ["n", "within", "●"], ["ring", "cited", "○"]));
  card.append(head, root);
  others.before(card);
  drawTimeline(root, plots, hours);
}

// One row for each variable that matters or was out of range, one mark for each value.
function drawTimeline(root, plots, hours) {
  const rows = plots
    .map((plot) => ({ plot, out: plot.points.filter((p) => p.side).length, cited: Boolean(plot.figure.dataset.cited) }))
    .filter(({ out, cited }) => out || cited)
    .sort((a, b) => b.cited - a.cited || b.out - a.out)
    .slice(0, 14);
  if (!rows.length) {
    root.append(html("p", "muted", "No value is out of its reference range, and none is cited."));
    return;
  }
  const narrow = root.clientWidth < 480;
  const [width, left, line] = [narrow ? 400 : 640, narrow ? 118 : 160, 19];
  const height = rows.length * line + 22;
  const window_ = Math.max(hours, 1);
  const x = (hour) => Number((left + ((width - left - 12) * Math.min(hour, window_)) / window_).toFixed(1));
  const svg = element("svg", {
    class: "lines", viewBox: `0 0 ${width} ${height}`, role: "group",
    "aria-label": `Values of ${rows.length} variables over the ${Math.round(window_)} hours that were read`,
  });
  for (const tick of hourTicks(0, Math.ceil(window_))) {
    svg.append(element("path", { class: "grid", d: `M${x(tick)} 0V${height - 18}` }));
    svg.append(element("text", { class: "x", x: x(tick), y: height - 5 }, `${tick} h`));
  }
  rows.forEach(({ plot }, i) => {
    const y = i * line + line / 2;
    const label = element("text", { class: "name", x: left - 10, y: y + 4 }, plot.spec.label);
    const link = element("a", { href: `#${plot.figure.id}` }, label);
    link.addEventListener("click", () => plot.figure.closest("details")?.setAttribute("open", ""));
    svg.append(element("path", { class: "grid", d: `M${left} ${y}H${width - 12}` }), link);
    const paths = { n: "", h: "", l: "" };
    for (const point of plot.points) {
      paths["lnh"[point.side + 1]] += shape(x(point.hour), y, point.side, point.side ? 1 : 0.7);
      if (point.claims.length) svg.append(element("circle", { class: "ring", cx: x(point.hour), cy: y, r: 5.5 }));
    }
    for (const [name, d] of Object.entries(paths)) if (d) svg.append(element("path", { class: name, d }));
  });
  root.replaceChildren(svg);
  for (const text of svg.querySelectorAll(".name")) {
    const room = left - 14;
    if (text.getComputedTextLength() > room) {
      text.setAttribute("textLength", room);
      text.setAttribute("lengthAdjust", "spacingAndGlyphs");
    }
  }
}

// The evidence of each numbered claim, from the marked passages and the plots.
function evidenceOf(plots) {
  const evidence = new Map();
  const add = (number, text) => evidence.set(number, [...(evidence.get(number) || []), text]);
  for (const cite of document.querySelectorAll(".note sup")) {
    let passage = "";
    for (let part = cite.previousSibling; part; part = part.previousSibling) {
      if (part.nodeName === "SUP") continue;
      if (part.nodeName !== "MARK") break;
      passage = part.textContent + passage;
      if (part.id) break;
    }
    const title = cite.closest("article").querySelector("h3").textContent;
    for (const link of cite.querySelectorAll("a")) add(link.textContent, `${title}: “${passage.trim()}”`);
  }
  for (const plot of plots) {
    for (const number of new Set(plot.points.flatMap((point) => point.claims))) add(number, plot.evidence(number));
  }
  return evidence;
}

// Completes the lists of claims and of grounds: evidence, links both ways, shares, and why the graph lets a ground count.
function tellEvidence(evidence) {
  for (const line of document.querySelectorAll(".claims li, .why li")) {
    const number = line.dataset.n;
    const claim = number && document.getElementById(`c${number}`)?.closest("[href]");
    if (claim) {
      const words = [...line.childNodes].find((node) => node.nodeName === "#text" && node.textContent.trim());
      const link = html("a", "", words.textContent.trim());
      link.href = claim.getAttribute("href");
      const back = html("a", "", number);
      back.href = `#c${number}`;
      const cite = html("sup");
      cite.append(back);
      words.replaceWith(link, cite);
    }
    const texts = evidence.get(number) || [];
    if (texts.length && !line.querySelector(".evidence")) {
      line.append(" ", html("span", "evidence", texts.slice(0, 2).join("; ") + (texts.length > 2 ? `; and ${texts.length - 2} more` : "")));
    }
    if (line.closest(".claims") && !line.querySelector("b")) line.prepend(html("b", "ok", "✓ supported"), " ");
  }
  for (const line of document.querySelectorAll(".why li")) {
    const share = line.dataset.s && Number(line.dataset.s);
    if (share) {
      const told = html("span", "share");
      told.append(bar({ share }), `${share < 0 ? "−" : ""}${Math.round(100 * Math.abs(share))} %`);
      line.prepend(told);
    }
    if (line.querySelector(".warrant")) continue;
    const warrant = html("div", "warrant");
    const [text, source] = typeof WARRANTS === "undefined" ? [] : WARRANTS.edges[line.dataset.w] || [];
    warrant.append(text || "no tie in the concept graph");
    if (text && source !== null) warrant.append(" ", html("cite", "", WARRANTS.sources[source]));
    line.append(warrant);
  }
  for (const cite of document.querySelectorAll(".says sup, .rationale sup")) {
    const lines = cite.textContent.trim().split(" ").flatMap((number) => evidence.get(number) || []);
    if (lines.length && cite.previousElementSibling) cite.previousElementSibling.title = lines.join("\n");
  }
}

// What the plots show, beside their title.
function tellPlots(title, plots) {
  const keys = [["key band", "reference range"], ["key gap", "no value for more than 6 h"]];
  if (plots.some((plot) => plot.carried.length)) keys.push(["key carried", "hours that carried a diagnosis"]);
  keys.push(["", "h before: age of the last value at the prediction"]);
  title.after(legend(...keys, ["", "drag over a plot to zoom, double-click to go back, arrow keys to read"]));
}

function tellMissing(root, plots) {
  const present = new Set(plots.map((plot) => plot.key));
  const groups = new Map();
  for (const [key, spec] of Object.entries(CATALOGUE)) {
    if (!present.has(key)) groups.set(spec.group, [...(groups.get(spec.group) || []), spec.label]);
  }
  for (const [group, labels] of groups) root.append(html("p", "small", `${group}: ${labels.join(" · ")}`));
  root.hidden = !groups.size;
}

// On a narrow screen, all that is called before the first reason.
function sumUp(called) {
  const list = html("ul", "sum");
  for (const [i, card] of [...called.querySelectorAll("article")].entries()) {
    card.id = `d${i}`;
    const link = html("a", "", card.querySelector("h3").textContent);
    link.href = `#d${i}`;
    const line = html("li");
    line.append(link, ` ${card.querySelector(".belief > b:last-of-type").textContent}`);
    list.append(line);
  }
  if (list.children.length > 1) called.before(list);
}

// The points that a followed link rests on are ringed: a claim or a boxed place has the number in its id, a listed claim in its line.
function lightFollowed(plots) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#chart-'], a[href^='#p']");
    if (!link) return;
    const ids = [link, ...link.querySelectorAll("[id]")].map((one) => one.id.slice(1));
    const numbers = [...ids, link.closest("[data-n]")?.dataset.n].filter(Boolean);
    if (numbers.length) plots.forEach((plot) => plot.light(numbers));
  });
}

// What an address points to is opened.
function openTargets() {
  const open = () => document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
  addEventListener("hashchange", open);
  open();
}

document.addEventListener("DOMContentLoaded", () => {
  const hours = Number(document.querySelector("main[data-window]")?.dataset.window);
  if (!hours) return;
  sumUp(document.querySelector(".called"));
  const plots = [...document.querySelectorAll(".charts figure")].map((figure) => new Plot(figure, hours));
  timelineCard(document.querySelector("[aria-labelledby=others]"), plots, hours);
  tellPlots(document.getElementById("series"), plots);
  tellEvidence(evidenceOf(plots));
  for (const belief of document.querySelectorAll(".belief")) belief.prepend(barOf(belief));
  tellMissing(document.querySelector("details.missing"), plots);
  lightFollowed(plots);
  openTargets();
  const folded = () => document.querySelectorAll("details.why, details.claims, details.rest, details.more");
  addEventListener("beforeprint", () => folded().forEach((one) => (one.open = true)));
});

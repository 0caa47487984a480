// Plots of the measurements, drawn from the text of their figures: "88 90 6:84" are 88 at hour 0, 90 at hour 1 and 84
// at hour 6; "15*3" is 15 three times. A dot is within the reference range, a triangle points to the side outside, a ring marks what a claim cites.
const SVG = "http://www.w3.org/2000/svg";
const LONG_GAP = 6; // hours without a value from which the line is dashed and the stretch hatched

const KEYS = Object.fromEntries(Object.entries(CATALOGUE).map(([key, spec]) => [spec.label, key]));

function element(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function html(name, className, text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function measurements(text) {
  const points = [];
  let hour = 0;
  for (const word of text.trim().split(/\s+/)) {
    const [, from, value, times] = word.match(/^(?:(.+):)?(.+?)(?:\*(\d+))?$/);
    if (from) hour = Number(from);
    for (let i = 0; i < Number(times ?? 1); i++) points.push({ hour: hour++, text: value, value: Number(value) });
  }
  return points;
}

const plain = (value) => String(value).replace("-", "−");
const sideOf = (spec, value) => (spec.high !== null && value > spec.high) - (spec.low !== null && value < spec.low);

function roundNumbers(low, high, decimals, about) {
  const raw = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const near = [1, 2, 5, 10].map((m) => m * power).sort((a, b) => Math.abs(Math.log(a / raw)) - Math.abs(Math.log(b / raw)));
  const step = Math.max(near[0], 10 ** -decimals);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(Number((i * step).toFixed(6)));
  return ticks;
}

function hourTicks(from, to) {
  const step = [1, 2, 6, 12, 24, 48, 96].find((s) => (to - from) / s <= 5) || Math.ceil((to - from) / 5);
  const ticks = [];
  for (let hour = Math.ceil(from / step) * step; hour <= to + 1e-9; hour += step) ticks.push(hour);
  return ticks;
}

// The shape of a value: a dot, or a triangle towards the side outside the range.
function shape(x, y, side, size = 1) {
  if (side) return `M${x} ${y - 3.5 * side * size}l${3.6 * size} ${6 * side * size}h${-7.2 * size}z`;
  const r = 2 * size;
  return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
}

class Plot {
  constructor(figure, window) {
    this.figure = figure;
    this.key = KEYS[figure.firstChild.textContent.trim()];
    this.spec = CATALOGUE[this.key];
    figure.id = `chart-${this.key}`;
    this.end = window; // the prediction
    this.window = Math.max(Math.ceil(window), 1);
    this.view = [0, this.window];
    this.points = measurements(figure.querySelector("p").textContent);
    for (const point of this.points) {
      point.side = sideOf(this.spec, point.value);
      [point.claims, point.answers] = [[], []];
    }
    this.number(figure.dataset.cited, "claims");
    this.number(figure.dataset.asked, "answers");
    this.lit = new Set();
    this.carried = (figure.dataset.carried || "").split(" ").filter(Boolean).map((part) => part.split("-").map(Number));
    this.current = this.points.length - 1;
    this.describe();
    this.draw();
  }

  // Gives points the numbers of what rests on them: "3:0,6-9 5:12".
  number(text, what) {
    for (const part of (text || "").split(" ").filter(Boolean)) {
      const [number, hours] = part.split(":");
      for (const span of hours.split(",")) {
        const [first, last] = span.split("-").map(Number);
        for (const point of this.points) if (point.hour >= first && point.hour <= (last ?? first)) point[what].push(number);
      }
    }
  }

  // Rings the points with one of these numbers, also those that no claim cites.
  light(numbers) {
    if (!this.lit.size && !this.figure.dataset.cited && !this.figure.dataset.asked) return;
    this.lit = new Set(numbers);
    this.draw();
  }

  isLit(point) {
    return [...point.claims, ...point.answers].some((number) => this.lit.has(number));
  }

  describe() {
    const last = this.points[this.points.length - 1];
    const counts = [1, -1].map((side) => this.points.filter((p) => p.side === side).length);
    const sub = html("span", "sub", this.spec.range || "no reference range");
    counts.forEach((count, i) => count && sub.append(" ", html("b", "hl"[i], `${"▲▼"[i]} ${count}`)));
    this.output = html("output", "reading");
    this.output.setAttribute("aria-live", "polite");
    const caption = html("figcaption");
    caption.append(...[...this.figure.childNodes].filter((node) => node.nodeName !== "P"), this.cites(), sub, this.output);
    this.figure.prepend(caption);
    this.read(last ? this.points.length - 1 : -1, true);
  }

  // How old the last value is at the prediction; an hour's value counts from the start of the hour.
  get age() {
    return `${Math.max(Math.round(this.end - this.points[this.points.length - 1].hour), 1)} h before`;
  }

  // Links to the claims that cite it, and the answers that rest on it.
  cites() {
    const links = html("sup");
    const numbers = new Set(this.points.flatMap((point) => [...point.claims, ...point.answers]));
    for (const number of [...numbers].sort((a, b) => a - b)) {
      const link = html("a", "", number);
      link.href = `#c${number}`;
      links.append(links.hasChildNodes() ? " " : "", link);
    }
    return links.hasChildNodes() ? links : "";
  }

  read(index, quietly = false) {
    const point = this.points[index];
    if (!point) return;
    this.current = index;
    const where = ["below range", "", "above range"][point.side + 1];
    this.output.textContent = quietly
      ? `last ${point.text}${this.spec.unit}`
      : `hour ${point.hour}: ${point.text}${this.spec.unit}${where ? `, ${where}` : ""}`;
    if (quietly) this.output.append(html("span", "muted", `, ${this.age}`));
    this.cursor?.setAttribute("d", quietly ? "" : `M${this.x(point.hour)} ${this.top}V${this.bottom}`);
  }

  // What a claim rests on, in words.
  evidence(number) {
    const cited = this.points.filter((point) => point.claims.includes(number));
    const values = cited.slice(0, 8).map((point) => `${point.text} at hour ${point.hour}`).join(", ");
    const more = cited.length > 8 ? ` and ${cited.length - 8} more` : "";
    const range = this.spec.range ? `; reference range ${this.spec.range}` : "";
    return `${this.spec.label} ${values}${more}${this.spec.unit && ` (${this.spec.unit.trim()})`}${range}`;
  }

  get summary() {
    const values = [...this.points].sort((a, b) => a.value - b.value);
    const out = this.points.filter((p) => p.side).length;
    return (
      `${this.spec.label}: ${values.length} value${values.length > 1 ? "s" : ""}` +
      (values.length > 1 ? ` from ${values[0].text} to ${values[values.length - 1].text}${this.spec.unit}` : "") +
      (out ? `, ${out} out of the reference range` : "") +
      `, the last ${this.age} the prediction`
    );
  }

  x(hour) {
    const [from, to] = this.view;
    return Number((this.left + ((this.right - this.left) * (hour - from)) / (to - from)).toFixed(1));
  }

  draw() {
    const [width, height] = [264, 104];
    Object.assign(this, { left: 34, right: width - 6, top: 7, bottom: height - 17 });
    const [from, to] = this.view;
    const { spec } = this;
    const shown = this.points.filter((p) => p.hour >= from && p.hour <= to);
    const bounds = [spec.low, spec.high].filter((bound) => bound !== null);
    const all = [...shown.map((p) => p.value), ...bounds];
    let [low, high] = [Math.min(...all, ...(spec.sum ? [0] : [])), Math.max(...all)];
    const margin = 0.08 * (high - low) || Math.max(0.05 * Math.abs(high), 0.5);
    [low, high] = [spec.sum ? low : low - margin, high + margin];
    const y = (value) => Number((this.top + ((this.bottom - this.top) * (high - value)) / (high - low)).toFixed(1));
    const svg = element("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": this.summary });
    svg.setAttribute("tabindex", "0");
    if (bounds.length) {
      const top = spec.high === null ? this.top : Math.max(y(spec.high), this.top);
      const foot = spec.low === null ? this.bottom : Math.min(y(spec.low), this.bottom);
      svg.append(
        element("rect", { class: "range", x: this.left, y: top, width: this.right - this.left, height: Math.max(foot - top, 1.5) }),
      );
    }
    for (const [start, end] of this.carried) {
      const [a, b] = [Math.max(this.x(start), this.left), Math.min(this.x(end), this.right)];
      if (b > a) svg.append(element("rect", { class: "carried", x: a, y: this.top, width: b - a, height: this.bottom - this.top }));
    }
    // stretches without a value, also before the first and after the last
    const marks = [0, ...this.points.map((p) => p.hour), this.window];
    for (let i = 1; i < marks.length; i++) {
      const [a, b] = [Math.max(marks[i - 1], from), Math.min(marks[i], to)];
      if (marks[i] - marks[i - 1] > LONG_GAP && b > a) {
        svg.append(element("rect", { class: "gapped", x: this.x(a), y: this.bottom, width: this.x(b) - this.x(a), height: 3 }));
      }
    }
    for (const tick of roundNumbers(low, high, spec.decimals, 3)) {
      svg.append(element("path", { class: "grid", d: `M${this.left} ${y(tick)}H${this.right}` }));
      svg.append(element("text", { class: "y", x: this.left - 4, y: y(tick) + 3 }, plain(tick)));
    }
    for (const tick of hourTicks(from, to)) {
      svg.append(element("text", { class: tick === to ? "x end" : "x", x: this.x(tick), y: height - 3 }, String(tick)));
    }
    svg.append(element("path", { class: "axis", d: `M${this.left} ${this.bottom}H${this.right}` }));
    this.line(svg, shown, y);
    this.marks(svg, shown, y);
    this.cursor = element("path", { class: "cursor", d: "" });
    svg.append(this.cursor);
    this.listen(svg);
    const focused = this.svg === document.activeElement;
    if (this.svg) this.svg.replaceWith(svg);
    else this.figure.append(svg);
    this.svg = svg;
    if (focused) svg.focus();
  }

  line(svg, shown, y) {
    if (this.spec.sum) return;
    let [solid, dashed, joined] = ["", "", false];
    for (let i = 1; i < shown.length; i++) {
      const [a, b] = [shown[i - 1], shown[i]];
      const step = `M${this.x(a.hour)} ${y(a.value)}L${this.x(b.hour)} ${y(b.value)}`;
      if (b.hour - a.hour > LONG_GAP) dashed += step;
      else solid += joined ? `L${this.x(b.hour)} ${y(b.value)}` : step;
      joined = b.hour - a.hour <= LONG_GAP;
    }
    if (solid) svg.append(element("path", { class: "line", d: solid }));
    if (dashed) svg.append(element("path", { class: "line gap", d: dashed }));
  }

  marks(svg, shown, y) {
    const width = Math.max((this.right - this.left) / (this.view[1] - this.view[0]) - 1, 1.5);
    const paths = { n: "", h: "", l: "" };
    for (const point of shown) {
      const [px, py] = [this.x(point.hour), y(point.value)];
      const side = "lnh"[point.side + 1];
      paths[side] += this.spec.sum
        ? `M${px} ${py}h${width}v${Math.max(y(0) - py, 0.8)}h${-width}z`
        : shape(px, py, point.side);
      const lit = this.isLit(point);
      if (lit || point.claims.length) svg.append(element("circle", { class: lit ? "ring lit" : "ring", cx: px, cy: py, r: 5 }));
    }
    for (const [name, d] of Object.entries(paths)) if (d) svg.append(element("path", { class: name, d }));
  }

  nearest(event) {
    const box = this.svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) * 264) / box.width;
    let best = -1;
    this.points.forEach((point, i) => {
      if (point.hour < this.view[0] || point.hour > this.view[1]) return;
      if (best < 0 || Math.abs(this.x(point.hour) - at) < Math.abs(this.x(this.points[best].hour) - at)) best = i;
    });
    return { at, best };
  }

  hourAt(x) {
    const [from, to] = this.view;
    return from + ((to - from) * (Math.min(Math.max(x, this.left), this.right) - this.left)) / (this.right - this.left);
  }

  zoom(from, to) {
    this.view = to - from >= 1 ? [Math.floor(from), Math.ceil(to)] : [0, this.window];
    this.draw();
  }

  listen(svg) {
    let start = null;
    svg.addEventListener("pointermove", (event) => this.read(this.nearest(event).best));
    svg.addEventListener("pointerleave", () => this.read(this.points.length - 1, true));
    svg.addEventListener("pointerdown", (event) => (start = this.nearest(event).at));
    svg.addEventListener("pointerup", (event) => {
      const { at, best } = this.nearest(event);
      if (start !== null && Math.abs(at - start) > 12) {
        this.zoom(...[this.hourAt(start), this.hourAt(at)].sort((a, b) => a - b));
      } else if (best >= 0 && Math.abs(this.x(this.points[best].hour) - at) < 7) {
        const { claims, answers } = this.points[best];
        const number = [...claims, ...answers].find((one) => this.lit.has(one)) ?? claims[0];
        if (number) location.hash = `#c${number}`;
      }
      start = null;
    });
    svg.addEventListener("dblclick", () => this.zoom(0, 0));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.read(Math.min(Math.max(this.current + step, 0), this.points.length - 1));
      else if (event.key === "Escape") this.zoom(0, 0);
      else if (event.key === "+") this.zoom(this.view[0], (this.view[0] + this.view[1]) / 2);
      else return;
      event.preventDefault();
    });
  }
}

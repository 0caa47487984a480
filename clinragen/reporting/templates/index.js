// The table of stays: search, filters, sorting and paging. They live in the address after '#', so that a view can be
// linked to, and going back from a stay finds it again.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form.filters");
  if (!form) return;
  const perPage = 50;
  const pager = document.querySelector(".pager");
  const table = document.querySelector("table.stays");
  const body = table.querySelector("tbody");
  const heads = [...table.querySelectorAll("thead th")];
  const words = (text) => text.toLowerCase().normalize("NFKD");
  const names = INDEX.labels;
  const complaints = INDEX.rows.some((row) => row.complaint);
  if (!complaints) for (const cell of table.querySelectorAll(".complaints")) cell.hidden = true;
  const rows = INDEX.rows.map((row, position) => {
    const [w, r, o] = [new Set(row.w), new Set(row.r), new Set(row.o)];
    const extra = row.coded ? [...w].filter((label) => !r.has(label)).length : 0;
    const missed = row.coded ? [...r].filter((label) => !w.has(label)).length : 0;
    const text = (labels) => words(labels.map((label) => `${names[label]} ${INDEX.also[label]}`).join(" "));
    return {
      ...row, w, r, o, extra, missed, position,
      complaint: row.complaint || "", claims: row.claims || 0, refuted: row.refuted || 0, grounded: row.grounded || 0,
      bare: w.size - (row.grounded || 0), hits: w.size - extra,
      text: words(`${row.id} ${row.age} ${row.sex} ${row.complaint || ""} ${row.abstains ? "abstains" : ""} `) + text([...w]),
      recordedText: text([...r]),
    };
  });
  let page = 0;
  let sorted = { by: "id", down: false };

  const roles = {
    either: (row, label) => row.w.has(label) || (!blinded.on && row.r.has(label)),
    written: (row, label) => row.w.has(label),
    possible: (row, label) => row.o.has(label),
    recorded: (row, label) => row.r.has(label),
    agrees: (row, label) => row.w.has(label) && row.r.has(label),
    extra: (row, label) => row.coded && row.w.has(label) && !row.r.has(label),
    missed: (row, label) => !row.w.has(label) && row.r.has(label),
  };
  const agreements = {
    right: (row) => row.coded && !row.extra && !row.missed,
    missed: (row) => row.missed > 0,
    extra: (row) => row.extra > 0,
    wrong: (row) => row.coded && !row.hits && row.extra + row.missed > 0,
  };
  const argued = Boolean(table.querySelector("[data-sort=grounded]"));
  const doubts = {
    abstains: (row) => row.abstains > 0,
    refuted: (row) => row.refuted > 0,
    absent: (row) => row.absent > 0,
    bare: (row) => argued && row.bare > 0,
    unparsed: (row) => !row.parsed,
  };
  doubts.none = (row) => !["abstains", "refuted", "absent", "bare", "unparsed"].some((name) => doubts[name](row));

  const chosen = () => [...form.elements].filter((field) => field.name).map((field) => [field.name, field.value]);

  function passes(row, { q, phenotype, role, least, most, correct, doubt, split }) {
    const terms = words(q).split(/\s+/).filter(Boolean);
    const text = blinded.on ? row.text : row.text + row.recordedText;
    if (!terms.every((term) => text.includes(term))) return false;
    const label = Number(phenotype);
    const bounded = least !== "" || most !== "";
    if (phenotype !== "") {
      const within = row.p[label] >= 1000 * Number(least || 0) && row.p[label] <= 1000 * Number(most || 1);
      // bounds alone ask for the probability, whatever is written
      if (bounded ? !within || (role !== "either" && !roles[role](row, label)) : !roles[role](row, label)) return false;
    } else if (bounded) {
      if (!row.p.some((p) => p >= 1000 * Number(least || 0) && p <= 1000 * Number(most || 1))) return false;
    }
    if (correct && !blinded.on && !agreements[correct](row)) return false;
    if (doubt && !doubts[doubt](row)) return false;
    return !split || row.split === split;
  }

  const matching = () => {
    const choice = { correct: "", ...Object.fromEntries(chosen()) };
    return rows.filter((row) => passes(row, choice));
  };

  function chips(row) {
    const cell = html("td", "chips");
    if (row.abstains) cell.append(html("b", "bad", "abstains"), " ");
    const told = !blinded.on && row.coded;
    const labels = [...row.w].map((label) => [label, told ? (row.r.has(label) ? "agrees" : "extra") : "said"]);
    if (told) labels.push(...[...row.r].filter((label) => !row.w.has(label)).map((label) => [label, "missed"]));
    const order = ["agrees", "said", "extra", "missed"];
    labels.sort((a, b) => order.indexOf(a[1]) - order.indexOf(b[1]) || row.p[b[0]] - row.p[a[0]]);
    for (const [label, kind] of labels) {
      const chip = html("i", kind, names[label]);
      chip.title = `probability ${(row.p[label] / 1000).toFixed(3)}`;
      cell.append(chip, " ");
    }
    if (!labels.length) cell.append(html("span", "muted", "none"));
    return cell;
  }

  function line(row) {
    const tr = html("tr");
    const head = html("th");
    head.scope = "row";
    const link = html("a", "", String(row.id));
    link.href = `stays/${row.id}.html`;
    head.append(link);
    const complaint = html("td", "text");
    complaint.append(html("div", "", row.complaint));
    tr.append(head, html("td", "", row.age), html("td", "", row.sex));
    if (complaints) tr.append(complaint);
    tr.append(chips(row));
    if (argued) tr.append(html("td", row.bare ? "num bad" : "num", `${row.grounded}/${row.w.size}`));
    tr.append(html("td", row.refuted ? "num bad" : "num", row.refuted ? `${row.claims}, ${row.refuted} refuted` : String(row.claims)));
    if (table.querySelector("[data-sort=f1]")) {
      tr.append(html("td", "num gold", row.coded ? (row.f1 ?? 0).toFixed(2) : ""));
    }
    return tr;
  }

  let held = [];
  function show() {
    held = matching();
    const pages = Math.max(1, Math.ceil(held.length / perPage));
    page = Math.min(Math.max(page, 0), pages - 1);
    const shown = held.slice(page * perPage, (page + 1) * perPage);
    body.replaceChildren(...shown.map(line));
    const first = held.length ? page * perPage + 1 : 0;
    pager.querySelector("output").textContent =
      `${first}–${page * perPage + shown.length} of ${held.length}` +
      (held.length < rows.length ? `, filtered from ${rows.length}` : "");
    const [before, after] = pager.querySelectorAll("button");
    before.disabled = page === 0;
    after.disabled = page === pages - 1;
    form.elements.role.disabled = !form.elements.phenotype.value;
  }

  function sort(by, down) {
    // "over 89" sorts after every age
    const value = (row) => {
      if (by === "id") return row.position;
      if (by === "age") return row.age.startsWith("over") ? 999 : Number(row.age);
      return typeof row[by] === "string" ? words(row[by]) : (row[by] ?? -1);
    };
    const keyed = rows.map((row) => [value(row), row]);
    keyed.sort(([a, i], [b, j]) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1) || i.position - j.position);
    rows.splice(0, rows.length, ...keyed.map(([, row]) => row));
    for (const head of heads) {
      if (head.dataset.sort === by) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    sorted = { by, down };
  }

  function remember() {
    const state = new URLSearchParams();
    for (const [name, value] of chosen()) if (value && !(name === "role" && value === "either")) state.set(name, value);
    if (page) state.set("page", page + 1);
    if (sorted.by !== "id" || sorted.down) state.set("sort", (sorted.down ? "-" : "") + sorted.by);
    const address = String(state);
    if (address !== location.hash.slice(1)) history.replaceState(null, "", address ? `#${address}` : location.pathname + location.search);
  }

  function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    form.reset();
    for (const field of form.elements) if (field.name && state.has(field.name)) field.value = state.get(field.name);
    const by = state.get("sort") || "id";
    const known = heads.some((head) => head.dataset.sort === by.replace("-", ""));
    sort(known ? by.replace("-", "") : "id", known && by.startsWith("-"));
    page = Number(state.get("page") || 1) - 1;
    show();
  }

  function update(turn = 0) {
    page = turn ? page + turn : 0;
    show();
    remember();
  }

  for (const head of heads) {
    if (!head.dataset.sort) continue;
    const button = html("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      sort(head.dataset.sort, sorted.by === head.dataset.sort ? !sorted.down : false);
      update();
    });
  }
  form.addEventListener("input", () => update());
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => event.isTrusted && setTimeout(update));
  form.querySelector(".copy").addEventListener("click", async (event) => {
    const button = event.target;
    try {
      await navigator.clipboard.writeText(location.href);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy the address bar";
    }
    setTimeout(() => (button.textContent = "Copy link"), 2000);
  });
  pager.addEventListener("click", (event) => {
    const turn = Number(event.target.dataset.turn);
    if (turn) update(turn);
  });
  addEventListener("hashchange", () => {
    if (!location.hash.includes("=") && location.hash) return; // a place on the page
    recall();
    if (location.hash) document.getElementById("stays").scrollIntoView();
  });
  document.addEventListener("blinded", show);
  // on paper all stays that pass the filters are wanted, not one page of them
  addEventListener("beforeprint", () => body.replaceChildren(...held.map(line)));
  addEventListener("afterprint", show);

  form.hidden = pager.hidden = table.hidden = false;
  recall();
});

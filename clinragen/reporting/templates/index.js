"use strict";
// Search, filters, sorting and paging of the table of stays. The filters live in the address after '#', so that
// going back from a stay finds them again. Without this script the table shows all stays.
(() => {
  const perPage = 50;
  const form = document.querySelector("form.filters");
  const pager = document.querySelector(".pager");
  const body = document.querySelector("table.stays tbody");
  const heads = [...document.querySelectorAll("table.stays thead th")];
  const words = (text) => text.toLowerCase().normalize("NFKD");
  const rows = [...body.rows].map((tr) => ({
    tr,
    text: words(tr.textContent),
    written: new Set(tr.dataset.w.split(" ").filter(Boolean)),
    recorded: new Set(tr.dataset.r.split(" ").filter(Boolean)),
    split: tr.dataset.s,
  }));
  // A diagnosis is also found by its key and by the names that others publish it under.
  const also = new Map(
    [...form.elements.phenotype.options].filter((o) => o.value).map((o) => [o.value, words(` ${o.dataset.also}`)]),
  );
  for (const row of rows) {
    for (const label of new Set([...row.written, ...row.recorded])) row.text += also.get(label) || "";
    row.hits = [...row.written].filter((label) => row.recorded.has(label)).length;
    row.extra = row.written.size - row.hits;
    row.missed = row.recorded.size - row.hits;
  }
  let page = 0;
  let sorted = { column: 0, down: false };

  const roles = {
    either: (w, r) => w || r,
    written: (w) => w,
    recorded: (_, r) => r,
    agrees: (w, r) => w && r,
    extra: (w, r) => w && !r,
    missed: (w, r) => !w && r,
  };
  const judged = {
    right: (row) => !row.extra && !row.missed,
    missed: (row) => row.missed > 0,
    extra: (row) => row.extra > 0,
    wrong: (row) => !row.hits && row.extra + row.missed > 0,
  };

  const chosen = () => [...form.elements].filter((field) => field.name).map((field) => [field.name, field.value]);

  function wanted(row, { q, phenotype, role, correct, split }) {
    const terms = words(q).split(/\s+/).filter(Boolean);
    if (!terms.every((term) => row.text.includes(term))) return false;
    if (phenotype && !roles[role](row.written.has(phenotype), row.recorded.has(phenotype))) return false;
    if (correct && !judged[correct](row)) return false;
    return !split || row.split === split;
  }

  function matching() {
    const choice = Object.fromEntries(chosen());
    return rows.filter((row) => wanted(row, choice));
  }

  function show() {
    const kept = matching();
    const pages = Math.max(1, Math.ceil(kept.length / perPage));
    page = Math.min(Math.max(page, 0), pages - 1);
    for (const { tr } of rows) tr.hidden = true;
    const shown = kept.slice(page * perPage, (page + 1) * perPage);
    for (const { tr } of shown) tr.hidden = false;
    const first = kept.length ? page * perPage + 1 : 0;
    pager.querySelector("output").textContent =
      `${first}–${page * perPage + shown.length} of ${kept.length}` +
      (kept.length < rows.length ? `, filtered from ${rows.length}` : "");
    const [before, after] = pager.querySelectorAll("button");
    before.disabled = page === 0;
    after.disabled = page === pages - 1;
    form.elements.role.disabled = !form.elements.phenotype.value;
  }

  function sort(column, down) {
    const number = heads[column].dataset.sort === "number";
    // "over 89" sorts after every age, ".851" is a number, "3/5" sorts by its 3
    const value = (row) => {
      const text = row.tr.cells[column].textContent.trim();
      return number ? parseFloat(text.replace("over ", "")) + (text.startsWith("over") ? 1 : 0) : words(text);
    };
    const keyed = rows.map((row, i) => [value(row), i, row]);
    keyed.sort(([a, i], [b, j]) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1) || i - j);
    rows.splice(0, rows.length, ...keyed.map(([, , row]) => row));
    body.append(...rows.map((row) => row.tr));
    heads.forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    sorted = { column, down };
  }

  function remember() {
    const state = new URLSearchParams();
    for (const [name, value] of chosen()) {
      if (value && !(name === "role" && value === "either")) state.set(name, value);
    }
    if (page) state.set("page", page + 1);
    if (sorted.column || sorted.down) state.set("sort", (sorted.down ? "-" : "") + sorted.column);
    history.replaceState(null, "", `#${state}`);
  }

  function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const field of form.elements) if (field.name && state.has(field.name)) field.value = state.get(field.name);
    const sortBy = state.get("sort") || "";
    const column = Math.abs(Number(sortBy)) || 0;
    if (sortBy && heads[column]?.dataset.sort) sort(column, sortBy.startsWith("-"));
    else sort(0, false);
    page = Number(state.get("page") || 1) - 1;
  }

  function update(turn = 0) {
    page = turn ? page + turn : 0;
    show();
    remember();
  }

  heads.forEach((head, column) => {
    if (!head.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      sort(column, sorted.column === column ? !sorted.down : false);
      update();
    });
  });
  form.addEventListener("input", () => update());
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
  pager.addEventListener("click", (event) => {
    const turn = Number(event.target.dataset.turn);
    if (turn) update(turn);
  });
  // On paper all stays that pass the filters are wanted, not one page of them.
  addEventListener("beforeprint", () => matching().forEach(({ tr }) => (tr.hidden = false)));
  addEventListener("afterprint", show);

  form.hidden = pager.hidden = false;
  recall();
  show();
})();

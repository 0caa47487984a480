// The training stays most like the stay of the form above: how they were coded, and what both charts show.
(() => {
  const get = (id) => document.getElementById(id);
  const { element } = stayForm;
  const form = get("seek"), button = form.querySelector("button"), cases = get("cases"), wrong = get("unsought"), status = get("seeking-status");
  let waiting = false;

  const named = (title, items) => {
    const line = element("p", "named");
    line.append(element("b", "", `${title}: `), items.length ? items.join("; ") : "–");
    return line;
  };

  const measured = (place) => `${place.value} at ${place.hour} h`;

  // What both series show: a row of a table for each finding, the stay that was sent and the case side by side.
  const inBothSeries = (shared) => {
    const table = element("table", "both"), head = element("tr", ""), body = element("tbody", "");
    const top = element("thead", "");
    table.append(element("caption", "", "In both series"), top, body);
    top.append(head);
    for (const title of ["sign", "this stay", "case"]) {
      const cell = element("th", "", title);
      cell.scope = "col";
      head.append(cell);
    }
    for (const one of shared) {
      const row = element("tr", ""), sign = element("th", "", one.text);
      sign.scope = "row";
      row.append(sign, element("td", "", measured(one.here)), element("td", "", measured(one.there)));
      body.append(row);
    }
    return table;
  };

  const show = (one, number) => {
    const item = element("li", ""), title = element("h3", "", `Case ${number} `);
    const parts = Object.entries(one.similarities).map(([name, value]) => `${name} ${value.toFixed(2)}`);
    title.append(element("span", "score", `similarity ${one.score.toFixed(2)}`));
    item.append(title, element("p", "hint", parts.join(" · ")), named("Coded", one.label_names));
    if (one.started.length) item.append(named("Newly started", one.started));
    const note = one.shared.filter((sign) => sign.kind === "note");
    const concepts = note.length ? note.map((sign) => `${sign.text} (${sign.here.section.replaceAll("_", " ")})`) : one.concepts.slice(0, 5);
    if (concepts.length) item.append(named("In both notes", concepts));
    const series = one.shared.filter((sign) => sign.kind === "series");
    if (series.length) item.append(inBothSeries(series));
    return item;
  };

  const clear = () => {
    cases.replaceChildren(); // cases of another stay are no answer about this one
    status.textContent = "";
    wrong.hidden = true;
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (waiting) return;
    waiting = button.disabled = true;
    clear();
    status.textContent = "The index is being searched …";
    try {
      const reply = await stayForm.post("v1/similar", await stayForm.one());
      cases.replaceChildren(...reply.cases.map((one, position) => show(one, position + 1)));
      const count = reply.cases.length;
      status.textContent = count ? `${count} case${count > 1 ? "s" : ""}, the most similar first.` : "No training stay has anything in common with this one.";
    } catch (error) {
      wrong.textContent = error.message;
      wrong.hidden = false;
      status.textContent = "";
    }
    waiting = button.disabled = false;
    button.focus();
  });

  get("ask").addEventListener("input", clear);
})();

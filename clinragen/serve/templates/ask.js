// Questions about the stay of the form above: a dialogue, whose answers show their evidence in the rows that were sent.
(() => {
  const get = (id) => document.getElementById(id);
  const { element } = stayForm;
  const MOST = 20; // questions that the service takes at a time
  const form = get("questions"), button = form.querySelector("button"), input = get("question"), dialogue = get("dialogue"), wrong = get("unasked");
  let questions = [], about = "", waiting = false;

  const beginAnew = () => {
    questions = [];
    about = "";
    dialogue.replaceChildren();
  };

  // A phrase in the words around it. Offsets count code points.
  const passage = (place, notes) => {
    const isWord = (letter) => /[\p{L}\p{N}]/u.test(letter || "");
    const texts = notes.filter((row) => (row.section || "history_of_present_illness") === place.section).map((row) => [...row.text]);
    const fits = texts.filter((text) => place.end <= text.length);
    const text = fits.find((one) => !isWord(one[place.start - 1]) && !isWord(one[place.end])) || fits[0];
    if (!text) return null;
    const [from, to] = [Math.max(0, place.start - 120), Math.min(text.length, place.end + 120)];
    const shown = element("p", "evidence");
    shown.append(element("b", "", `${place.section.replaceAll("_", " ")}: `), (from ? "… " : "") + text.slice(from, place.start).join(""));
    shown.append(element("mark", "", text.slice(place.start, place.end).join("")), text.slice(place.end, to).join("") + (to < text.length ? " …" : ""));
    return shown;
  };

  // All values of a variable, with those that an answer rests on marked. The service reads the values of an hour as one.
  // Of a bundle it shows those alone, as the service reads them.
  const values = (variable, places, { series }) => {
    const hours = new Set(places.map((place) => Math.floor(place.hour)));
    const rows = (series || places).filter((row) => row.variable === variable).sort((a, b) => a.hour - b.hour);
    const shown = element("p", "evidence");
    shown.append(element("b", "", `${variable.replaceAll("_", " ")}: `));
    for (const row of rows) {
      const words = `${row.value}${row.unit ? ` ${row.unit}` : ""} at ${row.hour} h`;
      shown.append(hours.has(Math.floor(row.hour)) ? element("mark", "", words) : words, row === rows[rows.length - 1] ? "" : " · ");
    }
    return shown;
  };

  const evidence = (answer, request) => {
    const measured = new Map();
    for (const place of answer.evidence.filter((one) => one.variable)) {
      measured.set(place.variable, [...(measured.get(place.variable) || []), place]);
    }
    const phrases = answer.evidence.filter((one) => one.section).map((place) => passage(place, request.notes || []));
    return [...[...measured].map(([variable, places]) => values(variable, places, request)), ...phrases.filter(Boolean)];
  };

  const STATUS = { answered: "answered", not_in_chart: "not in the chart", refused: "refused", unclear: "not understood" };

  const tell = (question, turn, request) => {
    const item = element("li", turn.outcome);
    item.append(element("p", "asks", question));
    const text = element("p", "reply", ` ${turn.text}`);
    text.prepend(element("span", "status", STATUS[turn.outcome] || turn.outcome));
    item.append(text, ...turn.answers.flatMap((answer) => evidence(answer, request)));
    if (turn.queries.length) {
      const read = element("p", "hint", turn.answers.length ? ` · searched: ${turn.answers.map((one) => one.searched).join("; ")}` : "");
      read.prepend(element("code", "", turn.queries.join(", ")));
      item.append(read);
    }
    dialogue.prepend(item);
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const question = input.value.trim();
    if (waiting || !question) return;
    waiting = button.disabled = true;
    wrong.hidden = true;
    get("asking-status").textContent = "The chart is being read …";
    try {
      const request = await stayForm.one();
      const stay = JSON.stringify(request);
      if (stay !== about) beginAnew(); // an answer about another stay is no longer one
      const asked = [...questions, question].slice(-MOST);
      const { turns } = await stayForm.post("v1/ask", { ...request, questions: asked });
      [questions, about] = [asked, stay];
      tell(question, turns[turns.length - 1], request);
      input.value = "";
    } catch (error) {
      wrong.textContent = error.message;
      wrong.hidden = false;
    }
    waiting = button.disabled = false;
    get("asking-status").textContent = "";
    input.focus();
  });

  get("anew").addEventListener("click", () => {
    beginAnew();
    input.focus();
  });
})();

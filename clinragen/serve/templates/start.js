"use strict";
// The form of a stay. What was typed or chosen can be asked for: {kind, request}, request as text.
const stayForm = (() => {
  const get = (id) => document.getElementById(id);
  const form = get("ask"), frame = get("report"), wrong = get("wrong"), button = form.querySelector("button");
  const OPENED = Math.floor(Date.now() / 3600000) * 3600000; // one time for all that is asked about a stay
  let waiting = false;

  const complain = (text) => {
    wrong.textContent = text;
    wrong.hidden = !text;
  };

  const finish = (text) => {
    waiting = false;
    button.disabled = false;
    get("status").textContent = text;
  };

  // "2 heart_rate 118 bpm", also with commas or tabs between
  const measurements = () => get("series").value.split("\n").map((line) => line.trim()).filter(Boolean).map((line, index) => {
    const [hour, variable, value, ...unit] = line.split(/[\s,;]+/);
    if (!variable || hour === "" || value === undefined || !isFinite(hour) || !isFinite(value)) {
      throw new Error(`Measurements, line ${index + 1}: expected an hour, a variable and a number.`);
    }
    const row = { stay_id: 1, hour: Number(hour), variable, value: Number(value) };
    return unit.length ? { ...row, unit: unit.join(" ") } : row;
  });

  const typed = () => {
    if (get("age").value === "") throw new Error("Age is needed, or a file.");
    const series = measurements();
    // the stay lasts until the hour after the last measurement: then is now
    const hours = series.length ? Math.floor(Math.max(...series.map((row) => row.hour))) + 1 : 48;
    const time = (ms) => new Date(ms).toISOString();
    const stay = { stay_id: 1, intime: time(OPENED - 3600000 * hours), outtime: time(OPENED) };
    stay.age = Number(get("age").value);
    stay.sex = get("sex").value || null;
    const text = get("note").value;
    const notes = text.trim() ? [{ stay_id: 1, section: get("section").value, text }] : [];
    return { kind: "stays", request: JSON.stringify({ stays: [stay], series, notes }) };
  };

  const uploaded = async (file) => {
    const text = await file.text();
    let content;
    try {
      content = JSON.parse(text);
    } catch {
      throw new Error("The file is not valid JSON.");
    }
    return { kind: content && content.resourceType ? "fhir" : "stays", request: text };
  };

  const chosen = async () => {
    const file = get("file").files[0];
    if (!file) get("number").value = "1";
    return file ? uploaded(file) : typed();
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (waiting) return;
    complain("");
    try {
      const stay = await chosen();
      form.elements.kind.value = stay.kind;
      form.elements.request.value = stay.request;
    } catch (error) {
      complain(error.message);
      return;
    }
    waiting = true;
    button.disabled = true;
    get("status").textContent = "The model is reading the stay …";
    form.submit();
    form.elements.request.value = "";
  });

  frame.addEventListener("load", () => {
    if (!waiting) return;
    let page = null;
    try {
      page = frame.contentDocument;
    } catch {
      page = null;
    }
    if (!page || !page.body || !page.body.childElementCount) {
      finish("");
      complain("The service does not answer: it may have been stopped.");
      return;
    }
    const error = page.getElementById("error");
    frame.hidden = Boolean(error);
    if (error) {
      const fields = [...page.querySelectorAll("li")].map((field) => field.textContent);
      finish("");
      complain([error.textContent, ...fields].join("; "));
      return;
    }
    finish("The report is below.");
    frame.scrollIntoView();
  });

  const number = () => Number(get("number").value);

  // The one stay that is typed or chosen, with its rows.
  const one = async () => {
    const { kind, request } = await chosen();
    if (kind === "fhir") return { bundle: JSON.parse(request), number: number() };
    const { source, stays, series, notes } = JSON.parse(request);
    const stay = Array.isArray(stays) && stays[number() - 1];
    if (!stay) throw new Error("The file has no stay of this number.");
    const of = (rows) => (Array.isArray(rows) ? rows.filter((row) => row.stay_id === stay.stay_id) : []);
    return { ...(source ? { source } : {}), stays: [stay], series: of(series), notes: of(notes) };
  };

  // The answer of an operation of the service.
  const post = async (path, request) => {
    const headers = { "content-type": "application/json" };
    if (get("token")) headers.authorization = `Bearer ${get("token").value}`;
    let response;
    try {
      response = await fetch(path, { method: "POST", headers, body: JSON.stringify(request) });
    } catch {
      throw new Error("The service does not answer: it may have been stopped.");
    }
    const answer = await response.json().catch(() => ({ error: "The service does not answer as expected." }));
    if (!response.ok) {
      const fields = (answer.fields || []).map((field) => `${field.path}: ${field.message}`);
      throw new Error([answer.error, ...fields].join("; "));
    }
    return answer;
  };

  const element = (name, className, text = "") => {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    return made;
  };

  return { one, post, element };
})();


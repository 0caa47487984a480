"use strict";
// The form of a stay. What was typed or chosen can be asked for: {kind, request}, request as text.
const stayForm = (() => {
  const get = (id) => document.getElementById(id);
  const form = get("ask"), frame = get("report"), wrong = get("wrong"), button = form.querySelector("button");
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
    const start = Date.UTC(2000, 0, 1), time = (ms) => new Date(ms).toISOString();
    const stay = { stay_id: 1, intime: time(start), outtime: time(start + 3600000 * hours) };
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

  return { chosen, number: () => Number(get("number").value) };
})();


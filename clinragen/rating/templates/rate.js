"use strict";
(() => {
  const { pack, rater, secret, ratingsVersion } = document.body.dataset;
  const STORE = `clinragen-ratings-${pack}-${rater}`;
  const at = (id) => document.getElementById(id);
  const stays = [...document.querySelectorAll("section.stay")];
  const cards = [...document.querySelectorAll("article.argument")].map((card) => ({
    card,
    stay: stays.indexOf(card.closest("section.stay")),
    item: card.closest("section.stay").dataset.item,
    letter: card.dataset.letter,
    scales: [...card.querySelectorAll("fieldset")].map((field) => ({
      criterion: field.dataset.criterion,
      radios: [...field.querySelectorAll("input")],
    })),
    comment: card.querySelector("textarea"),
    state: card.querySelector(".state"),
  }));
  let shown = 0;
  let unsaved = false;

  // SHA-256 (FIPS 180-4) of ASCII text as hex: browsers offer theirs to secure origins alone, which a file may not be
  function sha256(text) {
    const primes = [];
    for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
    const fraction = (x) => ((x - Math.floor(x)) * 4294967296) | 0;
    const k = primes.map((p) => fraction(Math.cbrt(p)));
    const hash = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
    const bytes = new Uint8Array((((text.length + 8) >> 6) + 1) * 64);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    bytes[text.length] = 128;
    const view = new DataView(bytes.buffer);
    view.setUint32(bytes.length - 8, Math.floor(text.length / 536870912));
    view.setUint32(bytes.length - 4, text.length << 3);
    const turn = (x, n) => (x >>> n) | (x << (32 - n));
    const w = new Int32Array(64);
    for (let start = 0; start < bytes.length; start += 64) {
      for (let i = 0; i < 16; i++) w[i] = view.getInt32(start + 4 * i);
      for (let i = 16; i < 64; i++) {
        const s0 = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ (w[i - 15] >>> 3);
        const s1 = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ (w[i - 2] >>> 10);
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
      }
      let [a, b, c, d, e, f, g, h] = hash;
      for (let i = 0; i < 64; i++) {
        const t1 = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
        const t2 = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
      }
      [a, b, c, d, e, f, g, h].forEach((x, i) => { hash[i] = (hash[i] + x) | 0; });
    }
    return hash.map((x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
  }

  const ascii = (value) => JSON.stringify(value).replace(
    /[\u007f-\uffff]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const seal = (content) => sha256(`${secret}${ascii(content)}`);

  const ratings = () => cards.map(({ item, letter, scales, comment }) => ({
    item,
    letter,
    ...Object.fromEntries(scales.map(({ criterion, radios }) => {
      const chosen = radios.find((radio) => radio.checked);
      return [criterion, chosen ? Number(chosen.value) : null];
    })),
    comment: comment.value,
  }));

  function fill(rows) {
    const by = new Map(rows.map((row) => [`${row.item} ${row.letter}`, row]));
    for (const { item, letter, scales, comment } of cards) {
      const row = by.get(`${item} ${letter}`) || {};
      for (const { criterion, radios } of scales) {
        for (const radio of radios) radio.checked = Number(radio.value) === row[criterion];
      }
      comment.value = typeof row.comment === "string" ? row.comment : "";
    }
  }

  function storage() {
    try {
      const there = window.localStorage;
      there.setItem(`${STORE}-probe`, "1");
      there.removeItem(`${STORE}-probe`);
      return there;
    } catch {
      return null;
    }
  }
  const stored = storage();

  function keep() {
    if (!stored) return;
    try {
      stored.setItem(STORE, JSON.stringify({ shown, ratings: ratings() }));
    } catch {
      at("storage").hidden = false;
    }
  }

  function restore(text) {
    try {
      const state = JSON.parse(text);
      fill(state.ratings);
      return Number.isInteger(state.shown) && stays[state.shown] ? state.shown : 0;
    } catch {
      return 0;
    }
  }

  const openOf = ({ scales }) => scales.filter(({ radios }) => !radios.some((radio) => radio.checked));

  function refresh() {
    let total = 0;
    let missing = 0;
    const open = stays.map(() => []);
    for (const entry of cards) {
      const left = openOf(entry);
      const count = entry.scales.length;
      total += count;
      missing += left.length;
      entry.state.textContent = left.length ? `${count - left.length} of ${count}` : "✓ rated";
      if (left.length) {
        const what = left.length === count ? "all" : left.map(({ criterion }) => criterion).join(", ");
        open[entry.stay].push(`${entry.letter}: ${what}`);
      }
    }
    stays.forEach((_, index) => {
      at("stay").options[index].textContent = `Stay ${index + 1} of ${stays.length}${open[index].length ? "" : " ✓"}`;
    });
    at("progress").max = total;
    at("progress").value = total - missing;
    at("count").textContent = `${total - missing} of ${total}`;
    at("open").hidden = !missing;
    at("open-count").textContent = `${missing} rating${missing === 1 ? "" : "s"} in ${
      open.filter((each) => each.length).length} of ${stays.length} stays`;
    at("open-list").replaceChildren(...open.flatMap((each, index) => {
      if (!each.length) return [];
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `Stay ${index + 1}`;
      button.addEventListener("click", () => show(index, true));
      const entry = document.createElement("li");
      entry.append(button, ` ${each.join("; ")}`);
      return [entry];
    }));
    return missing;
  }

  function show(index, move) {
    shown = Math.min(Math.max(index, 0), stays.length - 1);
    stays.forEach((stay, position) => { stay.hidden = position !== shown; });
    at("stay").value = String(shown);
    at("before").disabled = shown === 0;
    at("after").disabled = shown === stays.length - 1;
    for (const button of document.querySelectorAll("button.after")) button.hidden = shown === stays.length - 1;
    if (move) {
      at("message").textContent = "";
      window.scrollTo(0, 0);
      stays[shown].querySelector("h2").focus({ preventScroll: true });
    }
    keep();
  }

  function changed() {
    unsaved = true;
    at("message").textContent = "";
    keep();
    if (!refresh()) at("message").textContent = "Everything is rated: save the file and send it to whoever leads the study.";
  }

  function save() {
    const content = {
      kind: "clinragen ratings",
      ratings_version: Number(ratingsVersion),
      pack,
      rater,
      rater_kind: "human",
      saved: new Date().toISOString(),
      ratings: ratings(),
    };
    const text = JSON.stringify({ ...content, seal: seal(content) }, null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `ratings-${pack}-${rater}.json`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    unsaved = false;
    const missing = refresh();
    at("message").textContent = `Saved as ${link.download}${
      missing ? `; ${missing} rating${missing === 1 ? " is" : "s are"} missing, see the list below` : ", complete"}.`;
    at("open").open = missing > 0;
  }

  async function load(file) {
    const say = (text) => { at("message").textContent = text; };
    let content;
    try {
      content = JSON.parse(await file.text());
    } catch {
      return say("This is no file of ratings.");
    }
    if (!content || content.kind !== "clinragen ratings" || !Array.isArray(content.ratings)) {
      return say("This is no file of ratings.");
    }
    if (content.pack !== pack || content.rater !== rater) {
      return say("This file was saved from another page: nothing was loaded.");
    }
    const { seal: sealed, ...sent } = content;
    if (sealed !== seal(sent)) return say("This file was changed after it was saved: nothing was loaded.");
    const given = ratings().some((row) => row.comment || Object.values(row).some((value) => typeof value === "number"));
    if (given && !window.confirm("Replace the ratings on this page by those of the file?")) return say("");
    fill(content.ratings);
    keep();
    refresh();
    unsaved = false;
    return say(`Loaded ${file.name}.`);
  }

  document.addEventListener("change", (event) => {
    if (event.target.closest("article.argument")) changed();
    else if (event.target.matches(".only-abnormal")) {
      for (const box of document.querySelectorAll(".only-abnormal")) box.checked = event.target.checked;
      document.body.classList.toggle("abnormal-only", event.target.checked);
    }
  });
  document.addEventListener("input", (event) => {
    if (event.target.matches("textarea")) {
      unsaved = true;
      keep();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (!event.target.matches("fieldset input") || event.ctrlKey || event.metaKey || event.altKey) return;
    const radio = event.target.closest("fieldset").querySelector(`input[value="${CSS.escape(event.key)}"]`);
    if (!radio) return;
    event.preventDefault();
    radio.checked = true;
    radio.focus();
    changed();
  });
  document.addEventListener("click", (event) => {
    if (event.target.matches("button.after")) show(shown + 1, true);
    if (!event.target.matches("button.clear")) return;
    for (const radio of event.target.closest("article").querySelectorAll("input:checked")) radio.checked = false;
    changed();
  });
  at("stay").addEventListener("change", (event) => show(Number(event.target.value), true));
  at("before").addEventListener("click", () => show(shown - 1, true));
  at("after").addEventListener("click", () => show(shown + 1, true));
  at("save").addEventListener("click", save);
  at("load").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) load(file).finally(() => { event.target.value = ""; });
  });
  window.addEventListener("beforeunload", (event) => {
    if (unsaved && !stored) event.preventDefault();
  });
  window.addEventListener("storage", (event) => { // the same page in another tab
    if (event.key !== STORE || event.newValue === null) return;
    restore(event.newValue);
    refresh();
  });

  at("storage").hidden = Boolean(stored);
  show(stored ? restore(stored.getItem(STORE)) : 0, false);
  refresh();
})();

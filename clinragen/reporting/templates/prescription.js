// The pages of suggestions of drugs: bars, plots, and the search of their index.
document.addEventListener("DOMContentLoaded", () => {
  for (const chance of document.querySelectorAll(".chance")) chance.prepend(bar({ share: chance.textContent }));
  searchSuggestions(document.querySelector("form.suggestion-search"), document.querySelectorAll("table.suggestions tbody tr"));
  const hours = Number(document.querySelector("main[data-hours]")?.dataset.hours);
  if (!hours) return;
  const plots = [...document.querySelectorAll(".charts figure")].map((figure) => new Plot(figure, hours));
  tellPlots(document.getElementById("series"), plots);
  tellMissing(document.querySelector("details.missing"), plots);
  lightFollowed(plots);
  openTargets();
});

function searchSuggestions(form, rows) {
  if (!form) return;
  form.hidden = false;
  const input = form.querySelector("input");
  const texts = [...rows].map((row) => row.textContent.toLowerCase());
  const search = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [i, row] of [...rows].entries()) {
      row.hidden = !words.every((word) => texts[i].includes(word));
      shown += !row.hidden;
    }
    form.querySelector("output").textContent = shown < rows.length ? `${shown} of ${rows.length}` : "";
  };
  input.addEventListener("input", search);
  form.addEventListener("submit", (event) => event.preventDefault());
  search();
}

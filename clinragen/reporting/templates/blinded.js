// Hides what was recorded, on all pages until it is shown again. Runs before the page is drawn, so that nothing flashes up.
const blinded = {
  name: "clinragen-blinded",
  get on() {
    try {
      return localStorage.getItem(this.name) === "yes" || location.search === "?blinded";
    } catch {
      return location.search === "?blinded"; // a browser that keeps nothing
    }
  },
  set on(value) {
    try {
      if (value) localStorage.setItem(this.name, "yes");
      else localStorage.removeItem(this.name);
    } catch {
      // it holds for this page alone
    }
    this.show(value);
  },
  show(value) {
    document.documentElement.classList.toggle("blinded", value);
    for (const box of document.querySelectorAll("input.blind")) box.checked = value;
    document.dispatchEvent(new Event("blinded"));
  },
};
if (blinded.on) document.documentElement.classList.add("blinded");
document.addEventListener("DOMContentLoaded", () => {
  blinded.show(blinded.on);
  for (const box of document.querySelectorAll("input.blind")) {
    box.addEventListener("change", () => (blinded.on = box.checked));
  }
});
addEventListener("pageshow", (event) => event.persisted && blinded.show(blinded.on));

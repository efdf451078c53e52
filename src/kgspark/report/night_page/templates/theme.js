// Light or dark: what the reader chose last, else what the system says.
const kept = (() => { try { return localStorage.getItem("kgspark-theme"); } catch { return null; } })();
const system = matchMedia("(prefers-color-scheme: dark)");
document.documentElement.dataset.theme = kept || (system.matches ? "dark" : "light");
system.addEventListener("change", (event) => {
  if (!kept) setTheme(event.matches ? "dark" : "light");
});
function setTheme(name, keep) {
  document.documentElement.dataset.theme = name;
  if (keep) try { localStorage.setItem("kgspark-theme", name); } catch { /* a page without storage */ }
  document.dispatchEvent(new Event("themechange"));
}

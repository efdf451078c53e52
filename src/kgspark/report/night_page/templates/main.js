// Puts the page to work: the lists first, then the charts as they come into view.
async function open() {
  const [main, titles, likes, sizes, flat] = await Promise.all([
    jsonOf("main"), jsonOf("titles"), arrayOf("likes", "uint32"), arrayOf("genreSizes", "uint8"), arrayOf("genres", "uint16")]);
  const starts = new Uint32Array(sizes.length + 1);
  for (let i = 0; i < sizes.length; i++) starts[i + 1] = starts[i] + sizes[i];
  const page = {
    main, titles, likes,
    genresOf: (movie) => [...flat.subarray(starts[movie], starts[movie + 1])].map((place) => main.genreNames[place]).join(", "),
    hasSimilar: () => false,
    title(movie) {
      if (!page.hasSimilar(movie)) return make("span", { className: "title" }, titles[movie]);
      const button = make("button", { type: "button", className: "title", title: "what is similar" }, titles[movie]);
      button.addEventListener("click", () => document.dispatchEvent(new CustomEvent("movieasked", { detail: movie })));
      return button;
    },
  };
  let user = null;
  document.addEventListener("userchange", ({ detail }) => { user = detail; drawAround(page, user); });
  document.addEventListener("moviechange", ({ detail }) => { page.marked = detail; });
  addEventListener("resize", () => { if (user) drawAround(page, user); });
  showSimilar(page);
  showLists(page).choose(0);
  showCharts(main.charts);
  await Promise.all([plotly(), showMap(page)]);
  document.documentElement.dataset.ready = Math.round(performance.now());
}
function followSections() {
  const links = [...document.querySelectorAll("nav.bar a")];
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      for (const link of links) link.classList.toggle("on", link.hash === `#${target.id}`);
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  document.querySelectorAll("section[id]").forEach((section) => seen.observe(section));
}
document.querySelector(".theme").addEventListener("click", () =>
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark", true));
followSections();
open().catch((error) => {
  console.error(error);
  document.querySelector(".js-off").style.display = "block";
});

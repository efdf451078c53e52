// The map of the movies: a point each, drawn by the GPU; without one, the most liked movies as a picture.
const FEW_POINTS = 4000, SCALE = 32000;

function hasWebGl() {
  try { return Boolean(document.createElement("canvas").getContext("webgl")); } catch { return false; }
}
async function showMap(page) {
  const root = document.getElementById("map");
  if (!root) return;
  const [numbers, x, y, colours, share] = await Promise.all([
    arrayOf("numbers", "uint32"), arrayOf("x", "int16"), arrayOf("y", "int16"), arrayOf("colours", "uint8"), jsonOf("share")]);
  if (!numbers) return void (document.getElementById("map-card").hidden = true);
  const fast = hasWebGl(), all = fast ? numbers.length : Math.min(numbers.length, FEW_POINTS);
  const names = [...page.main.genreNames.slice(0, page.main.coloured), page.main.genreNames.length ? "others" : page.main.words.movies];
  const groups = names.map(() => []), others = names.length - 1, placeOf = new Map();
  for (let i = 0; i < all; i++) {
    groups[Math.min(colours[i], others)].push(i);
    placeOf.set(numbers[i], i);
  }
  const size = all > 30000 ? 1.8 : all > 6000 ? 2.6 : 4, shown = names.map(() => true);
  const fill = (group) => (group === others ? tone("past") : PALETTE[group]);
  const tip = document.getElementById("tip");
  let marked = null;

  function traces() {
    const order = [others, ...names.keys()].filter((group, place) => place === 0 || group !== others);
    const points = order.map((group) => ({
      type: fast ? "scattergl" : "scatter", mode: "markers", name: names[group], visible: shown[group], hoverinfo: "none",
      x: groups[group].map((i) => x[i] / SCALE), y: groups[group].map((i) => y[i] / SCALE), customdata: groups[group],
      marker: { size: groups[group].map((i) => size + Math.log10(1 + page.likes[numbers[i]])), line: { width: 0 }, color: fill(group), opacity: group === others ? 0.5 : 0.72 },
    }));
    if (!marked) return points;
    const here = [marked.movie, ...marked.others].map((movie) => placeOf.get(movie)).filter((i) => i !== undefined);
    const own = here[0] === placeOf.get(marked.movie);
    return [...points, {
      type: "scatter", mode: "markers", hoverinfo: "none", customdata: here, x: here.map((i) => x[i] / SCALE), y: here.map((i) => y[i] / SCALE),
      marker: { size: here.map((_, place) => (own && !place ? 15 : 9)), color: here.map((_, place) => (own && !place ? tone("ink") : "rgba(0,0,0,0)")), line: { color: tone("ink"), width: 2 } },
    }];
  }
  function layout() {
    const bare = { showgrid: false, zeroline: false, showticklabels: false, range: [-1.06, 1.06] };
    return { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 4, r: 4, t: 4, b: 4 }, xaxis: bare, yaxis: { ...bare }, showlegend: false, hovermode: "closest", dragmode: "pan", width: root.clientWidth, height: root.clientHeight, uirevision: "map" };
  }
  async function draw() {
    const Plotly = await plotly();
    await Plotly.react(root, traces(), layout(), { ...CONFIG, scrollZoom: true });
    if (root.dataset.drawn) return;
    root.dataset.drawn = "yes";
    root.on("plotly_hover", ({ points: [point], event }) => {
      const movie = numbers[point.customdata], genres = page.genresOf(movie);
      tip.replaceChildren(page.titles[movie], make("small", {}, [genres, `${count(page.likes[movie])} likes`].filter(Boolean).join(" · ")));
      tip.hidden = false;
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 12)}px`;
      tip.style.top = `${Math.max(8, event.clientY - tip.offsetHeight - 12)}px`;
    });
    root.on("plotly_unhover", () => { tip.hidden = true; });
    root.on("plotly_click", ({ points: [point] }) => document.dispatchEvent(new CustomEvent("moviemarked", { detail: numbers[point.customdata] })));
  }
  const legend = document.getElementById("map-legend");
  legend.replaceChildren(...[...names.keys()].filter((group) => groups[group].length).map((group) => {
    const button = make("button", { type: "button" }, make("i", { style: `background:${group === others ? "var(--past)" : PALETTE[group]}` }), names[group]);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      shown[group] = !shown[group];
      button.setAttribute("aria-pressed", shown[group]);
      draw();
    });
    return button;
  }));
  const part = all < numbers.length ? `the ${count(all)} most liked of ${count(numbers.length)}` : count(all);
  document.getElementById("map-count").textContent = `${part} ${page.main.words.movies}; the plane shows ${(share * 100).toFixed(0)} % of the differences.`;
  document.addEventListener("moviechange", ({ detail }) => { marked = detail; if (root.dataset.drawn) draw(); });
  document.addEventListener("themechange", () => { if (root.dataset.drawn) draw(); });
  addEventListener("resize", () => { if (root.dataset.drawn) draw(); });
  marked = page.marked || null;
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((it) => it.isIntersecting)) return;
    observer.disconnect();
    draw();
  }, { rootMargin: "400px" }).observe(root);
}

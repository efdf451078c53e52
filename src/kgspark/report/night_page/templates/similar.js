// The movies that are most like one movie.
function showSimilar(page) {
  const root = document.getElementById("similar"), { of, rows, cosines } = page.main.similar;
  const list = document.getElementById("similar-rows"), cap = document.getElementById("similar-cap");
  const places = new Map(of.map((movie, place) => [movie, place]));
  const lower = of.map((movie) => page.titles[movie].toLowerCase());
  if (!of.length) return;

  const name = picker(root.querySelector(".picker"), (text) => {
    const hits = [];
    for (let place = 0; place < of.length && hits.length < 60; place++) {
      const movie = of[place];
      if (lower[place].includes(text)) hits.push({ text: page.titles[movie], value: movie, more: `${count(page.likes[movie])} likes` });
    }
    return hits;
  }, choose);

  function choose(movie) {
    const place = places.get(movie);
    if (place === undefined) return;
    cap.title = page.titles[movie];
    name(page.titles[movie]);
    cap.textContent = page.titles[movie];
    const found = rows[place].map((other, rank) => [other, cosines[place][rank]]).filter(([other]) => other >= 0);
    list.replaceChildren(...found.map(([other, cosine], rank) => make("li", {},
      make("span", { className: "rank" }, `${rank + 1}`), page.title(other),
      make("span", { className: "end" }, cosine.toFixed(3), make("span", { className: "meter" }, make("i", { style: `width:${Math.max(cosine, 0) * 100}%` }))),
      make("span", { className: "sub" }, page.genresOf(other)))));
    document.dispatchEvent(new CustomEvent("moviechange", { detail: { movie, others: found.map(([other]) => other) } }));
  }
  document.addEventListener("movieasked", ({ detail }) => {
    if (!places.has(detail)) return;
    choose(detail);
    document.getElementById("movie-map").scrollIntoView();
  });
  document.addEventListener("moviemarked", ({ detail }) => choose(detail));
  page.hasSimilar = (movie) => places.has(movie);
  return choose(of[0]);
}

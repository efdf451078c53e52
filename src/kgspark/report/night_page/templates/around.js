// What surrounds a user in the graph: the liked movies on a ring, and their facts on a ring around it.
const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function cut(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function drawAround(page, user) {
  const root = document.getElementById("around");
  if (!root) return;
  const { facts, relations, entities } = page.main.around;
  const narrow = root.clientWidth < 560;
  const most = narrow ? { movies: 8, facts: 14 } : { movies: 12, facts: 26 };
  const width = narrow ? 440 : 1120, height = narrow ? 460 : 600, mid = [width / 2, height / 2];
  const rings = narrow ? [[95, 105], [150, 195]] : [[250, 150], [420, 255]];
  const movies = user.liked.slice(0, most.movies).map((row) => row[0]);
  const at = (ring, angle) => [mid[0] + rings[ring][0] * Math.cos(angle), mid[1] + rings[ring][1] * Math.sin(angle)];
  const turn = (place, all) => (2 * Math.PI * place) / Math.max(all, 1) - Math.PI / 2;

  // An entity stands between the movies that have it; entities of several movies come first.
  const having = new Map();
  movies.forEach((movie, place) => {
    for (const [relation, entity] of facts[movie] || []) {
      if (!having.has(entity)) having.set(entity, []);
      having.get(entity).push([place, relation]);
    }
  });
  const chosen = [...having].sort((a, b) => b[1].length - a[1].length || a[0] - b[0]).slice(0, most.facts);
  const placed = chosen.map(([entity, owners]) => {
    const x = owners.reduce((sum, [place]) => sum + Math.cos(turn(place, movies.length)), 0);
    const y = owners.reduce((sum, [place]) => sum + Math.sin(turn(place, movies.length)), 0);
    return { entity, owners, angle: (Math.atan2(y, x) + 2.5 * Math.PI) % (2 * Math.PI) };
  }).sort((a, b) => a.angle - b.angle || a.entity - b.entity);
  placed.forEach((it, place) => { it.at = at(1, turn(place, placed.length)); });

  const kinds = [...new Set(placed.map((it) => entities[it.entity][1]))];
  const colour = (kind) => PALETTE[(kinds.indexOf(kind) + 1) % PALETTE.length];
  const lines = [], nodes = [];
  const line = (from, to, type, ends) => {
    const element = svg("line", { x1: from[0], y1: from[1], x2: to[0], y2: to[1], class: type });
    element.ends = ends;
    lines.push(element);
  };
  const node = (key, place, radius, fill, text, type, title) => {
    const right = place[0] > mid[0] + 1, inner = type === "user";
    const label = svg("text", { x: inner ? 0 : right ? radius + 5 : -radius - 5, y: inner ? radius + 15 : 4, "text-anchor": inner ? "middle" : right ? "start" : "end" }, text);
    const tip = svg("title", {}, title);
    const group = svg("g", { class: `node ${type}`, transform: `translate(${place})` }, svg("circle", { r: radius, style: `fill:${fill}` }), label, tip);
    group.key = key;
    nodes.push(group);
  };
  movies.forEach((movie, place) => {
    const here = at(0, turn(place, movies.length));
    line(mid, here, "like", ["user", `m${place}`]);
    node(`m${place}`, here, 6, "var(--main)", cut(page.titles[movie], narrow ? 16 : 26), "movie", `${page.main.around.target}: ${page.titles[movie]}`);
  });
  for (const { entity, owners, at: there } of placed) {
    for (const [place] of owners) line(at(0, turn(place, movies.length)), there, "fact", [`m${place}`, `e${entity}`]);
    const [text, kind] = entities[entity], words = [...new Set(owners.map((it) => relations[it[1]]))].join(", ");
    node(`e${entity}`, there, 3 + Math.min(owners.length, 6), colour(kind), cut(text, narrow ? 13 : 20), "entity", `${kind} ${text} (${words}): ${owners.length} of these ${page.main.words.movies}`);
  }
  node("user", mid, 13, "var(--ink)", `${page.main.words.user} ${user.id}`, "user", `${user.id}: ${count(user.likes)} likes`);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "around", role: "img", "aria-label": `The graph around ${page.main.words.user} ${user.id}` }, ...lines, ...nodes);
  for (const group of nodes) {
    group.addEventListener("mouseenter", () => {
      const near = new Set([group.key]);
      for (const it of lines) {
        const lit = it.ends.includes(group.key);
        it.classList.toggle("lit", lit);
        if (lit) it.ends.forEach((end) => near.add(end));
      }
      for (const it of nodes) it.classList.toggle("lit", near.has(it.key));
      picture.classList.add("focus");
    });
    group.addEventListener("mouseleave", () => picture.classList.remove("focus"));
  }
  root.replaceChildren(picture);
  const words = [[page.main.words.movie, "var(--main)"], ...kinds.map((kind) => [kind, colour(kind)])];
  document.getElementById("around-legend").replaceChildren(...words.map(([word, fill]) => make("span", {}, make("i", { style: `background:${fill}` }), word)));
  document.getElementById("around-cap").textContent = `${page.main.words.user} ${user.id}`;
}

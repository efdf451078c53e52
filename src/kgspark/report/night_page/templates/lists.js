// One user: what the user liked beside what the user gets, tonight and in the night before.
function showLists(page) {
  const root = document.getElementById("lists"), users = page.main.lists;
  if (!users.length) return { choose() {} };
  const { user: word, users: words } = page.main.words;
  const liked = document.getElementById("liked"), got = document.getElementById("got");
  const tabs = [...root.querySelectorAll(".seg button")];
  let chosen = 0, night = "tonight";

  const name = picker(root.querySelector(".picker"), (text) => {
    const hits = users.map((it, place) => ({ text: it.id, value: place, more: `${count(it.likes)} likes` }));
    const starting = hits.filter((it) => it.text.toLowerCase().startsWith(text));
    const others = text ? hits.filter((it) => it.text.toLowerCase().indexOf(text) > 0) : [];
    return [...starting, ...others].slice(0, 60);
  }, choose);

  function likedRow([movie, rating, day]) {
    const end = make("span", { className: "end" });
    if (rating !== null) end.append(make("span", { className: "stars" }, "★ "), `${rating}`);
    const sub = [page.genresOf(movie), day].filter(Boolean).join(" · ");
    const row = make("li", {}, page.title(movie), end, make("span", { className: "sub" }, sub));
    row.dataset.movie = movie;
    return row;
  }
  function moved(movie, rank, before) {
    if (!before) return null;
    const then = before.indexOf(movie) + 1;
    if (!then) return make("span", { className: "tag new" }, "new");
    const step = then - rank;
    if (!step) return make("span", { className: "move", title: "the same place as in the night before" }, "=");
    return make("span", { className: `move ${step > 0 ? "up" : "down"}` }, `${step > 0 ? "▲" : "▼"} ${Math.abs(step)}`);
  }
  function gotRow([movie, score, reason, source], place, rows, before) {
    const low = Math.min(...rows.map((row) => row[1])), high = Math.max(...rows.map((row) => row[1]));
    const width = high > low ? 18 + (82 * (score - low)) / (high - low) : 100;
    const end = make("span", { className: "end" }, moved(movie, place + 1, before),
      make("span", { title: "score" }, score.toFixed(3).replace("-", "−")),
      make("span", { className: "meter" }, make("i", { style: `width:${width}%` })));
    const sub = make("span", { className: "sub" });
    if (reason >= 0) sub.append("because of ", make("b", {}, page.titles[reason]));
    else sub.append(page.genresOf(movie));
    if (source !== "model") sub.append(" ", make("span", { className: "tag" }, source.replaceAll("_", " ")));
    const row = make("li", {}, make("span", { className: "rank" }, `${place + 1}`), page.title(movie), end, sub);
    if (reason >= 0) {
      row.addEventListener("mouseenter", () => light(reason, true));
      row.addEventListener("mouseleave", () => light(reason, false));
    }
    return row;
  }
  function light(movie, on) {
    for (const row of liked.children) row.classList.toggle("lit", on && row.dataset.movie === `${movie}`);
  }
  function beforeRow(movie, place, now) {
    const still = now.findIndex((row) => row[0] === movie) + 1;
    const end = make("span", { className: "end" }, still ? `now ${still}` : make("span", { className: "tag" }, "gone"));
    const title = movie >= 0 ? page.title(movie) : make("span", { className: "title" }, "not in tonight's catalogue");
    const sub = make("span", { className: "sub" }, movie >= 0 ? page.genresOf(movie) : "");
    return make("li", {}, make("span", { className: "rank" }, `${place + 1}`), title, end, sub);
  }
  function nothing(text) {
    return make("li", {}, make("span", { className: "sub" }, text));
  }
  function draw() {
    const user = users[chosen], before = user.before;
    tabs[1].disabled = !before;
    if (!before) night = "tonight";
    for (const tab of tabs) tab.setAttribute("aria-pressed", tab.dataset.night === night);
    document.getElementById("liked-cap").textContent = `${word} ${user.id} liked`;
    const more = user.likes > user.liked.length ? `the best ${user.liked.length} of ${count(user.likes)}` : "";
    document.getElementById("liked-more").textContent = more;
    document.getElementById("got-cap").textContent = night === "tonight" ? "gets tonight" : "got in the night before";
    liked.replaceChildren(...user.liked.map(likedRow));
    if (!user.liked.length) liked.append(nothing(`No like is known of this ${word}.`));
    const rows = night === "tonight"
      ? user.got.map((row, place) => gotRow(row, place, user.got, before))
      : before.map((movie, place) => beforeRow(movie, place, user.got));
    got.replaceChildren(...rows);
    if (!rows.length) got.append(nothing(`This ${word} has no list.`));
    liked.scrollTop = got.scrollTop = 0;
  }
  function choose(place) {
    chosen = (place + users.length) % users.length;
    name(users[chosen].id);
    draw();
    document.dispatchEvent(new CustomEvent("userchange", { detail: users[chosen] }));
  }
  for (const tab of tabs) tab.addEventListener("click", () => { night = tab.dataset.night; draw(); });
  root.querySelector("[data-step='-1']").addEventListener("click", () => choose(chosen - 1));
  root.querySelector("[data-step='1']").addEventListener("click", () => choose(chosen + 1));
  document.getElementById("sampled").textContent = `${count(users.length)} ${words} are on this page`;
  return { choose };
}

// A search box with suggestions: arrows, Enter and Escape work as in a list of the system.
function picker(root, search, choose) {
  const input = root.querySelector("input"), options = root.querySelector(".options");
  let found = [], at = -1;

  function close() {
    options.hidden = true;
    input.setAttribute("aria-expanded", "false");
  }
  function show() {
    found = search(input.value.trim().toLowerCase());
    at = -1;
    options.replaceChildren(...found.map((it, place) => {
      const option = make("li", { role: "option" }, make("span", {}, it.text), make("small", {}, it.more || ""));
      option.addEventListener("mousedown", (event) => { event.preventDefault(); take(place); });
      return option;
    }));
    if (!found.length) options.append(make("li", { className: "none" }, "Nothing on this page has this name"));
    options.hidden = false;
    input.setAttribute("aria-expanded", "true");
  }
  function take(place) {
    if (!found[place]) return;
    input.value = found[place].text;
    close();
    choose(found[place].value);
  }
  function move(step) {
    at = (at + step + found.length) % found.length;
    [...options.children].forEach((option, place) => option.setAttribute("aria-selected", place === at));
    options.children[at]?.scrollIntoView({ block: "nearest" });
  }
  input.addEventListener("focus", () => { input.select(); show(); });
  input.addEventListener("input", show);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter") take(Math.max(at, 0));
    else if (found.length && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : at < 0 ? 0 : -1);
    }
  });
  return (text) => { input.value = text; };
}

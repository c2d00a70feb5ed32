"use strict";
(() => {
  const root = document.documentElement;
  const said = document.getElementById("said");
  const store = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { localStorage.setItem(key, value); } catch { /* a file opened without storage */ } },
  };
  let silence = 0;
  function say(words) {
    said.textContent = words;
    said.classList.add("on");
    clearTimeout(silence);
    silence = setTimeout(() => said.classList.remove("on"), 1800);
  }

  const chosen = store.get("sonotune-theme");
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  document.getElementById("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.dataset.theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    store.set("sonotune-theme", root.dataset.theme);
    say(root.dataset.theme === "dark" ? "Dark theme" : "Light theme");
  });

  const menu = document.getElementById("menu");
  const nav = document.getElementById("nav");
  menu.addEventListener("click", () => {
    menu.setAttribute("aria-expanded", String(nav.classList.toggle("open")));
  });

  function order(a, b) {
    const x = a.dataset.v, y = b.dataset.v;
    const p = Number(x), q = Number(y);
    if (x !== "" && y !== "" && !Number.isNaN(p) && !Number.isNaN(q)) return p - q;
    return x.localeCompare(y, "en", { numeric: true });
  }
  function letters(a, b) { return (a.dataset.v > b.dataset.v) - (a.dataset.v < b.dataset.v); }
  function sort(header) {
    const table = header.closest("table");
    const column = [...header.parentNode.children].indexOf(header);
    const numeric = !header.matches(".text, .word, .id, .status");
    const down = numeric && !header.querySelector('[title^="lower"]'); // the best first
    const by = header.matches(".id") ? letters : order; // of hexadecimal names some would pass for numbers
    const now = header.getAttribute("aria-sort");
    const next = now === "none" ? (down ? "descending" : "ascending")
      : now === "descending" ? "ascending" : "descending";
    for (const other of header.parentNode.children) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", next);
    const sign = next === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const rows = [...body.rows];
    rows.sort((r, s) => {
      const a = r.cells[column], b = s.cells[column];
      const gaps = (a.dataset.v === "") - (b.dataset.v === "");
      return gaps || sign * by(a, b);
    });
    body.append(...rows);
    say(`Sorted by ${header.textContent.trim()}, ${next}`);
  }
  for (const button of document.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => sort(button.parentNode));
  }

  for (const input of document.querySelectorAll("input[data-table]")) {
    const body = document.getElementById(input.dataset.table).tBodies[0];
    const count = input.closest(".table").querySelector(".count");
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        left += row.hidden ? 0 : 1;
      }
      count.textContent = words.length ? `${left} of ${body.rows.length} rows` : "";
    });
  }

  async function copy(text) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* files have no clipboard everywhere */ }
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const done = await copy(document.getElementById(button.dataset.from).textContent);
      say(done ? "Copied" : "Copying is not allowed here; select the text instead");
    });
  }

  const links = new Map([...nav.querySelectorAll("a")].map((a) => [a.hash.slice(1), a]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.classList.remove("here");
      links.get(entry.target.id)?.classList.add("here");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const id of links.keys()) watch.observe(document.getElementById(id));
})();

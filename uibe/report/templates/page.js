"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const form = byId("controls"), query = byId("query"), category = byId("category"), sort = byId("sort");
  const list = byId("cards"), shown = byId("shown");
  const cards = [...list.children].map((node) => ({ node, ...node.dataset, text: node.dataset.search.toLowerCase() }));
  const rising = (key) => (a, b) => a[key] - b[key] || a.number - b.number;
  const falling = (key) => (a, b) => b[key] - a[key] || a.number - b.number;
  const orders = {
    iou: falling("iou"), train: falling("train"), rate: rising("rate"), wide: falling("rate"), number: rising("number"),
    lead: (a, b) => b.lead - a.lead || orders.iou(a, b),
    label: (a, b) => a.label.localeCompare(b.label) || b.iou - a.iou || a.number - b.number,
  };

  const best = new Set();
  for (const card of [...cards].sort(orders.iou)) {
    card.lead = best.has(card.label) ? 0 : 1;
    best.add(card.label);
  }

  function filter() {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const card of cards) {
      const wanted = (!category.value || card.category === category.value)
        && words.every((word) => /^#?\d+$/.test(word) ? card.number === word.replace("#", "") || card.label.toLowerCase().includes(word) : card.text.includes(word));
      card.node.hidden = !wanted;
      count += wanted;
    }
    const noun = cards.length === 1 ? "detector" : "detectors";
    shown.textContent = count === cards.length ? `${count} ${noun}` : `${count} of ${cards.length} ${noun}`;
  }

  function order() {
    cards.sort(orders[sort.value]);
    list.append(...cards.map((card) => card.node));
  }

  // a link must lead to its detector, whatever is filtered out
  function follow() {
    const target = /^#detector-\d+$/.test(location.hash) && byId(location.hash.slice(1));
    if (!target) return;
    if (target.hidden) { query.value = ""; category.value = ""; filter(); }
    target.scrollIntoView({ block: "start" });
    target.focus({ preventScroll: true });
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { filter(); order(); }));
  query.addEventListener("input", filter);
  category.addEventListener("change", filter);
  sort.addEventListener("change", order);
  window.addEventListener("hashchange", follow);
  filter(); // a browser keeps the fields' values when it reloads
  order();
  follow();
})();

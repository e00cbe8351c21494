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

  const inside = (sign) => /[\p{L}\p{N}]/u.test(sign ?? "");

  // whether a word of the text begins so, or is just that; a query of other signs may stand anywhere
  function found(text, word, whole = false) {
    for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
      const begins = !inside(word[0]) || !inside(text[at - 1]);
      if (begins && !(whole && inside(text[at + word.length]))) return true;
    }
    return false;
  }

  // "car" is meant where there are cars, not the carpets; while it is typed, "carp" finds those
  function test(word) {
    if (/^#?\d+$/.test(word)) return (card) => card.number === word.replace("#", "") || found(card.label.toLowerCase(), word);
    const whole = cards.some((card) => found(card.text, word, true));
    return (card) => found(card.text, word, whole);
  }

  function filter() {
    const tests = query.value.toLowerCase().split(/\s+/).filter(Boolean).map(test);
    let count = 0;
    for (const card of cards) {
      const wanted = (!category.value || card.category === category.value) && tests.every((each) => each(card));
      card.node.hidden = !wanted;
      count += wanted;
    }
    const noun = cards.length === 1 ? "detector" : "detectors";
    if (!count) shown.textContent = "No detector matches: change the search or the category, or press Reset.";
    else shown.textContent = count === cards.length ? `${count} ${noun}` : `${count} of ${cards.length} ${noun}`;
  }

  function order() {
    cards.sort(orders[sort.value]);
    list.append(...cards.map((card) => card.node));
  }

  // the bar sticks to the top on a wide screen and scrolls away on a phone: the list begins below it on both
  function toList() {
    window.scrollBy(0, shown.getBoundingClientRect().top - form.offsetHeight);
  }

  function changed() {
    filter();
    order();
    toList();
  }

  // a link must lead to its detector, whatever is filtered out
  function follow() {
    if (!/^#detector-\d+$/.test(location.hash)) return;
    const target = byId(location.hash.slice(1));
    if (target?.hidden) { query.value = ""; category.value = ""; }
    filter(); // also takes back what was said of a detector that is not here
    if (!target) {
      shown.textContent = `There is no detector ${location.hash.slice("#detector-".length)} on this page.`;
      toList();
      return;
    }
    target.scrollIntoView({ block: "start" });
    target.focus({ preventScroll: true });
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(changed));
  query.addEventListener("input", changed);
  category.addEventListener("change", changed);
  sort.addEventListener("change", changed);
  window.addEventListener("hashchange", follow);
  filter(); // a browser keeps the fields' values when it reloads
  order();
  follow();
})();

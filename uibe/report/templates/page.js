"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const form = byId("controls"), query = byId("query"), category = byId("category"), sort = byId("sort");
  const only = byId("only"), list = byId("cards"), shown = byId("shown"), more = byId("more");
  const step = 60; // cards at a time: a page of all is a hundred screens long
  let limit = step, held = null;
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
      const fits = (!category.value || card.category === category.value) && (!only.checked || card.clear === "1");
      const wanted = fits && tests.every((each) => each(card));
      card.node.hidden = !wanted;
      card.node.classList.toggle("later", wanted && count >= limit); // on paper they are there
      count += wanted;
    }
    const noun = cards.length === 1 ? "detector" : "detectors";
    if (!count) shown.textContent = "No detector matches: change the search or the filters, or press Reset.";
    else shown.textContent = count === cards.length ? `${count} ${noun}` : `${count} of ${cards.length} ${noun}`;
    if (count > limit) shown.textContent += `, the first ${limit} shown`;
    more.hidden = count <= limit;
    more.textContent = `Show ${Math.min(step, count - limit)} more`;
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
    letGo();
    limit = step;
    order();
    filter();
    toList();
  }

  // a link must lead to its detector, whatever is filtered out
  function follow() {
    letGo();
    if (!/^#detector-\d+$/.test(location.hash)) return;
    const target = byId(location.hash.slice(1));
    if (target?.hidden) { query.value = ""; category.value = ""; only.checked = false; filter(); }
    const before = cards.filter((card) => !card.node.hidden).findIndex((card) => card.node === target);
    limit = Math.max(limit, step * Math.ceil((before + 1) / step));
    filter(); // also takes back what was said of a detector that is not here
    if (!target) {
      shown.textContent = `There is no detector ${location.hash.slice("#detector-".length)} on this page.`;
      toList();
      return;
    }
    target.focus({ preventScroll: true });
    held = target;
    hold(30);
  }

  // cards around it take their true heights as they come into view, and a reload would scroll to where it was
  function hold(frames) {
    history.scrollRestoration = "manual";
    if (!held || !frames) return;
    held.scrollIntoView({ block: "start" });
    requestAnimationFrame(() => hold(frames - 1));
  }

  function letGo() {
    held = null;
  }

  function showMore() {
    const next = list.querySelector(".later");
    limit += step;
    filter();
    next.focus({ preventScroll: true });
  }

  // what a link leads to must not be under the bar, however many lines that has
  function measure() {
    document.documentElement.style.setProperty("--bar", `${form.offsetHeight}px`);
  }

  form.hidden = false;
  measure();
  window.addEventListener("resize", measure);
  more.addEventListener("click", showMore);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(changed));
  query.addEventListener("input", changed);
  category.addEventListener("change", changed);
  only.addEventListener("change", changed);
  sort.addEventListener("change", changed);
  window.addEventListener("hashchange", follow);
  for (const move of ["wheel", "touchstart", "pointerdown", "keydown"]) window.addEventListener(move, letGo, { passive: true });
  order();
  filter(); // a browser keeps the fields' values when it reloads
  follow();
})();

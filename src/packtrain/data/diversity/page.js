"use strict";
// Draws the sunburst from the JSON block "data". Texts of the data reach the page as text nodes and attributes only.
const data = JSON.parse(document.getElementById("data").textContent);
const figure = document.getElementById("figure");
const back = document.getElementById("back");
const TAU = 2 * Math.PI;
const HOLE = 118, VERBS = 292, OBJECTS = 342, LABELS = 366, LINE = 16.5, LETTER = 0.56, LONGEST = 22;
let focused = null; // the verb that is looked at alone, or null

const number = (value) => value.toLocaleString("en");
const percent = (part, whole) => (100 * part / whole).toFixed(1) + " %";
const cut = (word) => word.length > LONGEST ? word.slice(0, LONGEST - 1) + "…" : word;
const at = (angle, radius) => [radius * Math.sin(angle), -radius * Math.cos(angle)];

function add(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return figure.appendChild(element);
}

// Ascending angles moved as little as possible so that all are `gap` apart: isotonic regression, pools of neighbours.
function spread(angles, gap) {
  const pools = [];
  angles.forEach((angle, rank) => {
    let mean = angle - rank * gap, size = 1;
    while (pools.length && pools[pools.length - 1].mean > mean) {
      const before = pools.pop();
      mean = (before.mean * before.size + mean * size) / (before.size + size);
      size += before.size;
    }
    pools.push({ mean, size });
  });
  const highest = Math.max(TAU - angles.length * gap, 0) - gap / 2;
  const offsets = pools.flatMap(({ mean, size }) => Array(size).fill(Math.min(Math.max(mean, -gap / 2), highest)));
  return offsets.map((offset, rank) => offset + rank * gap);
}

function ring(begin, end, inside, outside) {
  const last = Math.min(end, begin + TAU - 1e-4), large = last - begin > Math.PI ? 1 : 0;
  const [a, b, c, d] = [at(begin, outside), at(last, outside), at(last, inside), at(begin, inside)];
  return `M${a}A${outside},${outside} 0 ${large} 1 ${b}L${c}A${inside},${inside} 0 ${large} 0 ${d}Z`;
}

function writeRadially(angle, radius, text, size, colour, inward) {
  const [x, y] = at(angle, radius), right = Math.sin(angle) >= 0;
  const turn = angle * 360 / TAU - 90 + (right ? 0 : 180);
  add("text", {
    class: "label", transform: `translate(${x} ${y}) rotate(${turn})`, "font-size": size,
    "text-anchor": right !== inward ? "start" : "end", ...(colour ? { style: `fill: ${colour}` } : {}),
  }, text);
}

// A slice that can be reached and read: by pointer, keyboard and screen reader.
function slice(begin, end, inside, outside, colour, opacity, name, describe, choose) {
  const path = add("path", {
    class: choose ? "slice" : "slice rest", d: ring(begin, end, inside, outside), fill: colour, "fill-opacity": opacity,
    tabindex: -1, role: choose ? "button" : "img", "aria-label": name,
  });
  path.addEventListener("mouseenter", describe);
  path.addEventListener("focus", () => { describe(); settle(path); });
  path.addEventListener("click", () => { describe(); if (choose) choose(path); });
  return path;
}

// One slice at a time is a stop of the Tab key; arrow keys go on from it.
function settle(path) {
  for (const each of figure.querySelectorAll(".slice[tabindex='0']")) each.setAttribute("tabindex", -1);
  path.setAttribute("tabindex", 0);
}

function describe(title, figures, examples) {
  document.getElementById("what").textContent = title;
  document.getElementById("figures").textContent = figures;
  document.getElementById("examples").replaceChildren(...examples.map((example) => {
    const item = document.createElement("li");
    item.textContent = example;
    return item;
  }));
}

const describeVerb = (verb) => describe(
  verb.verb,
  `${number(verb.count)} instructions with a direct object, ${percent(verb.count, data.instructions)} of all; ` +
    `${number(verb.different)} different objects`,
  verb.objects.slice(0, 8).map((each) => each.examples[0]).filter((example) => example !== undefined),
);
const describeObject = (verb, each) => describe(
  `${verb.verb} → ${each.object}`,
  `${number(each.count)} instructions, ${percent(each.count, data.instructions)} of all, ` +
    `${percent(each.count, verb.count)} of those with “${verb.verb}”`,
  each.examples,
);

function choose(path) {
  for (const each of figure.querySelectorAll(".chosen")) each.classList.remove("chosen");
  path.classList.add("chosen");
}

function draw() {
  figure.replaceChildren();
  back.hidden = focused === null;
  const alone = focused !== null;
  const verbs = alone ? [focused] : data.verbs;
  const parts = verbs.map((verb) => {
    const objects = alone ? verb.objects : verb.objects.slice(0, data.objects);
    const shown = objects.reduce((sum, each) => sum + each.count, 0);
    return { verb, objects, shown, rest: alone ? verb.count - shown : 0 };
  });
  const total = parts.reduce((sum, part) => sum + part.shown + part.rest, 0);
  const outer = [];
  let done = 0;
  for (const { verb, objects, shown, rest } of parts) {
    const begin = TAU * done / total, end = TAU * (done + shown + rest) / total;
    const name = `${verb.verb}: ${number(verb.count)} instructions, ${percent(verb.count, data.instructions)}`;
    slice(begin, end, HOLE, VERBS, verb.colour, 1, name, () => describeVerb(verb), () => focus(alone ? null : verb));
    const label = `${cut(verb.verb)}  ${percent(verb.count, data.instructions)}`;
    const perRadius = 0.92 * (end - begin), length = LETTER * label.length;
    const size = Math.min(perRadius * (VERBS - 10) / (1 + perRadius * length), (VERBS - HOLE - 20) / length, 19);
    const named = size >= 7.5;
    if (named && !alone) writeRadially((begin + end) / 2, VERBS - 10, label, size, verb.ink, true);
    objects.forEach((each, rank) => {
      const from = TAU * done / total, to = TAU * (done + each.count) / total;
      const opacity = alone ? (rank % 2 ? 0.5 : 0.75) : Math.max(0.72 - 0.14 * rank, 0.28);
      slice(from, to, VERBS, OBJECTS, verb.colour, opacity, `${verb.verb} ${each.object}: ${number(each.count)} instructions`,
        () => describeObject(verb, each), choose);
      outer.push({ angle: (from + to) / 2, count: each.count,
        text: `${named ? "" : cut(verb.verb) + " "}${cut(each.object)}  ${number(each.count)}` });
      done += each.count;
    });
    if (rest > 0) {
      const others = verb.different - objects.length;
      const what = `${number(others)} other objects`;
      slice(TAU * done / total, TAU * (done + rest) / total, VERBS, OBJECTS, verb.colour, 0.15, `${what}: ${number(rest)}`,
        () => describe(`${verb.verb} → ${what}`, `${number(rest)} instructions`, []), null);
      outer.push({ angle: TAU * (done + rest / 2) / total, count: rest, text: `${what}  ${number(rest)}` });
      done += rest;
    }
  }
  writeLabels(outer);
  writeCentre(alone ? focused.verb : percent(total, data.instructions),
    alone ? ["all verbs: Escape"] : ["of all instructions", "are shown"]);
  settle(figure.querySelector(".slice"));
}

function writeLabels(outer) {
  const room = Math.floor(TAU * LABELS / LINE);
  const least = outer.map((each) => each.count).sort((a, b) => b - a)[room];
  const kept = least === undefined ? outer : outer.filter((each) => each.count > least);
  const places = spread(kept.map((each) => each.angle), LINE / LABELS);
  const longest = Math.max(...kept.map((each) => each.text.length));
  const reach = LABELS + 13.5 * LETTER * longest + 8;
  figure.setAttribute("viewBox", `${-reach} ${-reach} ${2 * reach} ${2 * reach}`);
  kept.forEach((each, rank) => {
    const points = [at(each.angle, OBJECTS + 2), at(each.angle, OBJECTS + 7), at(places[rank], LABELS - 4)];
    add("polyline", { class: "leader", points: points.join(" ") });
    writeRadially(places[rank], LABELS, each.text, 13.5, null, false);
  });
}

function writeCentre(large, lines) {
  const size = Math.min(38, 2 * (HOLE - 14) / (LETTER * large.length));
  add("text", { class: "centre", y: 0, "font-size": size }, large);
  lines.forEach((line, rank) => add("text", { class: "centre small", y: 26 + 20 * rank }, line));
}

function focus(verb) {
  const left = focused;
  focused = verb;
  draw();
  const slices = [...figure.querySelectorAll(".slice")];
  const name = (verb || left).verb + ":";
  (slices.find((each) => each.getAttribute("aria-label").startsWith(name)) || slices[0]).focus();
  if (verb) describeVerb(verb);
}

back.addEventListener("click", () => focus(null));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && focused !== null) { focus(null); return; }
  const slices = [...figure.querySelectorAll(".slice")], place = slices.indexOf(document.activeElement);
  if (place < 0) return;
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (event.key in steps) slices[(place + steps[event.key] + slices.length) % slices.length].focus();
  else if (event.key === "Enter" || event.key === " ") slices[place].dispatchEvent(new MouseEvent("click"));
  else return;
  event.preventDefault();
});
draw();

// Elements from data. Every string goes in as text: nothing here, or anywhere in this page, is parsed as markup.
import { nodes, plain } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "selected", "indeterminate"]);

// el("div.card.is-open", {onclick, title, "aria-label": …}, child, "text", [more])
export function el(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name || "div");
  if (classes.length) node.className = classes.join(" ");
  return fill(node, attributes, children);
}

export function svg(name, attributes) {
  return fill(document.createElementNS(SVG, name), attributes, []);
}

// A small picture of one line, of the colour of the text around it.
export function icon(d) {
  const picture = svg("svg", { viewBox: "0 0 16 16", width: 14, height: 14, fill: "currentColor", "aria-hidden": "true" });
  picture.append(svg("path", { d }));
  return picture;
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "vars") for (const [name, held] of Object.entries(value)) node.style.setProperty(name, held);
    else if (PROPERTIES.has(key)) node[key] = value;
    else node.setAttribute(key, value === true ? "" : plain(value));
  }
  append(node, children);
  return node;
}

export function append(node, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    if (child instanceof Node) node.append(child);
    else node.append(...nodes(child));
  }
  return node;
}

// What an element is known by when it is made anew.
const known = (node) => node.id || node.dataset?.place || node.getAttribute("aria-label") || node.textContent;

// The element, or the one that took its place within another.
const again = (node, within) => (node.isConnected ? node : [...within.querySelectorAll(node.tagName)].find((each) => known(each) === known(node)));

// Whoever works with keys stays where he is when that is made anew, or at least within.
export function refocus(had, within = document) {
  if (!had || had === document.body || document.activeElement !== document.body) return;
  (again(had, within) ?? (within.tabIndex >= 0 ? within : null))?.focus({ preventScroll: true });
}

const focusIn = (node) => (node !== document.activeElement && node.contains(document.activeElement) ? document.activeElement : null);
const shown = new WeakMap();

export function put(node, ...children) {
  const had = focusIn(node);
  shown.delete(node);
  node.replaceChildren();
  append(node, children);
  refocus(had, node);
  return node;
}

// As `put`, unless what it was made from stands there already: what is opened in it, or typed into it, stays so.
export function keep(node, from, show) {
  const as = JSON.stringify(from);
  if (shown.get(node) === as) return;
  put(node, show());
  shown.set(node, as);
}

// What scrolls when an element moves out of sight: that depends on the width of the window.
export function scrollerOf(node) {
  for (let each = node; each; each = each.parentElement) if (/auto|scroll/.test(getComputedStyle(each).overflowY)) return each;
  return document.documentElement;
}

export const button = (label, onclick, attributes) =>
  el("button.button", { type: "button", onclick, ...attributes }, label);

// A way past what is long, for who works with keys.
export function skip(label, to) {
  const past = () => {
    const place = to() ?? document.getElementById("main");
    if (place.tabIndex < 0) place.tabIndex = -1;
    place.focus();
  };
  return el("button.button.skip", { type: "button", onclick: past }, label);
}

export const pill = (kind, label, title) => el(`span.pill.is-${kind}`, { title }, label);

// Something that is on its way, and what came of it; a later one of the same place wins. What is read `again` stands
// there until it came, and stays if that is the same.
const latest = new WeakMap();
export async function load(node, work, show, isAgain = false) {
  const mine = {};
  const had = focusIn(node);
  latest.set(node, mine);
  const timer = setTimeout(() => {
    if (latest.get(node) === mine && !isAgain) put(node, busy());
  }, 150);
  node.setAttribute("aria-busy", "true");
  try {
    const result = await work();
    if (latest.get(node) !== mine) return;
    if (!isAgain) shown.delete(node);
    keep(node, result, () => show(result));
    refocus(had, node);
  } catch (error) {
    if (latest.get(node) === mine && error.name !== "AbortError") put(node, failed(error, () => load(node, work, show)));
  } finally {
    clearTimeout(timer);
    if (latest.get(node) === mine) node.removeAttribute("aria-busy");
  }
}

export const busy = () => el("p.busy", { role: "status" }, el("span.spinner", { "aria-hidden": "true" }), "Reading…");

export const empty = (title, ...more) => el("div.empty", {}, el("p.empty-title", {}, title), more.length ? el("p", {}, more) : null);

export const failed = (error, again) =>
  el("div.failed", { role: "alert" },
    el("p.failed-title", {}, error.title ?? "That could not be read"),
    el("p", { dir: "auto" }, error.message),
    again ? button("Try again", again) : null);

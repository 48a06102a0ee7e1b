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

export function put(node, ...children) {
  node.replaceChildren();
  return append(node, children);
}

// What scrolls when an element moves out of sight: that depends on the width of the window.
export function scrollerOf(node) {
  for (let each = node; each; each = each.parentElement) if (/auto|scroll/.test(getComputedStyle(each).overflowY)) return each;
  return document.documentElement;
}

export const button = (label, onclick, attributes) =>
  el("button.button", { type: "button", onclick, ...attributes }, label);

export const pill = (kind, label, title) => el(`span.pill.is-${kind}`, { title }, label);

// Something that is on its way, and what came of it; a later one of the same place wins.
const latest = new WeakMap();
export async function load(node, work, show, waiting) {
  const mine = {};
  latest.set(node, mine);
  const timer = setTimeout(() => {
    if (latest.get(node) === mine) put(node, waiting ?? busy());
  }, 150);
  node.setAttribute("aria-busy", "true");
  try {
    const result = await work();
    if (latest.get(node) === mine) put(node, show(result));
  } catch (error) {
    if (latest.get(node) === mine && error.name !== "AbortError") put(node, failed(error, () => load(node, work, show, waiting)));
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
